// Kubernetes' own NetworkPolicy cases as one program: of its end-to-end suite only their package is linked in.
// Flags are the suite's: --kubeconfig, --ginkgo.focus, --ginkgo.junit-report, --list-images.
package main

import (
	"flag"
	"os"
	"testing"

	"k8s.io/kubernetes/test/e2e"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"

	_ "k8s.io/kubernetes/test/e2e/framework/debug/init"
	_ "k8s.io/kubernetes/test/e2e/framework/node/init"
	_ "k8s.io/kubernetes/test/e2e/network/netpol"
)

func main() {
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	flag.Parse()
	framework.AfterReadingAllFlags(&framework.TestContext)
	outcome := &testing.T{}
	e2e.RunE2ETests(outcome)
	if outcome.Failed() {
		os.Exit(1)
	}
}
