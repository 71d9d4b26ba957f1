"""What is read from the JUnit document of Kubernetes' own cases."""

from __future__ import annotations

from tests.conformance.cases import Outcome, read

DOCUMENT = """
<testsuites><testsuite>
  <testcase name="[SynchronizedBeforeSuite]" status="{setup}" time="0.1"/>
  <testcase name="[It] [sig-network] Netpol denies" status="passed" time="41.5"><system-err>much</system-err></testcase>
  <testcase name="[It] [sig-network] Netpol allows" status="failed" time="62">
    <failure message="Had 2 wrong results&#10;in reachability matrix" type="failed">where</failure>
  </testcase>
  <testcase name="[It] [sig-network] Netpol waits" status="timedout" time="600"/>
  <testcase name="[It] [sig-storage] a volume" status="skipped" time="0"><skipped message="skipped"/></testcase>
</testsuite></testsuites>
"""
DENIES = Outcome("[sig-network] Netpol denies", 41.5)
ALLOWS = Outcome("[sig-network] Netpol allows", 62.0, "Had 2 wrong results in reachability matrix")
WAITS = Outcome("[sig-network] Netpol waits", 600.0, "timedout")


def test_the_cases_that_ran_are_told_and_why_they_failed():
    assert read(DOCUMENT.format(setup="passed")) == [ALLOWS, DENIES, WAITS]
    assert [each.failed for each in (ALLOWS, DENIES, WAITS)] == [True, False, True]
    assert str(DENIES) == "passed    42 s  [sig-network] Netpol denies"
    assert str(ALLOWS).splitlines() == [
        "FAILED    62 s  [sig-network] Netpol allows",
        "    Had 2 wrong results in reachability matrix",
    ]


def test_a_suite_that_did_not_begin_has_failed():
    (first, *_) = read(DOCUMENT.format(setup="failed"))

    assert first == Outcome("[SynchronizedBeforeSuite]", 0.1, "failed")
