"""Findings in the formats of other tools: SARIF 2.1.0 for code hosts, JUnit XML for CI.

Both are small, stable documents, written with the standard library: the SARIF object models on PyPI are generated and
have had no release since 2019, and a JUnit report is three elements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree import ElementTree

from msgspec import Struct

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


class ReportRule(Struct, frozen=True):
    """A kind of finding; `level` is note, warning or error, `anchor` a page of our documents with a fragment."""

    id: str
    title: str
    level: str
    anchor: str


class ReportFinding(Struct, frozen=True):
    """One finding. `file` is a path, empty: of no file; `subject` is what it is about; `accepted` why it is not to
    count, empty: it counts."""

    rule: ReportRule
    subject: str
    message: str
    file: str = ""
    accepted: str = ""


def sarif(rules: Sequence[ReportRule], findings: Iterable[ReportFinding], version: str) -> str:
    """One SARIF log with one run. An accepted finding is a suppressed result (3.27.23)."""
    results = []
    for finding in findings:
        location: dict[str, object] = {"logicalLocations": [{"fullyQualifiedName": finding.subject}]}
        if finding.file:
            location["physicalLocation"] = {"artifactLocation": {"uri": finding.file}}
        result: dict[str, object] = {
            "ruleId": finding.rule.id,
            "level": finding.rule.level,
            "message": {"text": f"{finding.subject}: {finding.message}"},
            "locations": [location],
        }
        if finding.accepted:
            result["suppressions"] = [{"kind": "inSource", "justification": finding.accepted}]
        results.append(result)
    driver = {
        "name": "kuryrctl",
        "version": version,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.title},
                "help": {"text": f"see {rule.anchor}"},
                "defaultConfiguration": {"level": rule.level},
            }
            for rule in rules
        ],
    }
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=2)


def junit(suite: str, subjects: Iterable[str], findings: Iterable[ReportFinding]) -> str:
    """One test case for each subject: failed where findings count, skipped where all of them are accepted."""
    by_subject: dict[str, list[ReportFinding]] = {subject: [] for subject in subjects}
    for finding in findings:
        by_subject.setdefault(finding.subject, []).append(finding)
    root = ElementTree.Element("testsuite", name=suite, tests=str(len(by_subject)))
    failures = skipped = 0
    for subject, found in by_subject.items():
        case = ElementTree.SubElement(root, "testcase", classname=suite, name=subject)
        counting = [finding for finding in found if not finding.accepted]
        told = "\n".join(f"{each.rule.id}: {each.message}" for each in counting or found)
        if counting:
            failures += 1
            ElementTree.SubElement(case, "failure", message=counting[0].message, type=counting[0].rule.id).text = told
        elif found:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=f"accepted: {found[0].accepted}").text = told
    root.set("failures", str(failures))
    root.set("skipped", str(skipped))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
