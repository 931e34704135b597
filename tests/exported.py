"""Reports that every format has to get right, by what is special about them."""

from models.taxonomy import CellClass
from service.contract.report import Report
from service.contract.scan import CellGroup, ScanParameters
from tests.analyses import CLASSIFIER, cells_of, cells_with, random_cells, report_of
from tests.golden import golden_report

BLASTS_AND_PROMYELOCYTES = CellGroup(
    name="blasts & <promyelocytes>",
    classes=(CellClass.MYO, CellClass.MOB, CellClass.PMO),
)


def empty_report() -> Report:
    """Of a slide without a cell."""
    return report_of(cells_of())[0]


def report_without_leukocytes() -> Report:
    """Of a slide with erythroblasts and smudge cells only."""
    return report_of(cells_with({CellClass.EBO: 3, CellClass.KSC: 2}))[0]


def report_of_every_class() -> Report:
    """Of a model that supports all 15 classes."""
    classifier = CLASSIFIER.model_copy(update={"unsupported_classes": ()})
    cells = cells_with({CellClass.NGS: 90, CellClass.MYO: 7, CellClass.MOB: 2, CellClass.PMB: 1})
    return report_of(cells, classifier=classifier)[0]


def report_without_blast_classes() -> Report:
    """Of a model that supports no blast at all."""
    unsupported = (CellClass.MOB, CellClass.MYO)
    classifier = CLASSIFIER.model_copy(update={"unsupported_classes": unsupported})
    return report_of(cells_with({CellClass.NGS: 50}), classifier=classifier)[0]


def regrouped_report(name: str = BLASTS_AND_PROMYELOCYTES.name) -> Report:
    """Of a request that counts promyelocytes as blast equivalents, under that name."""
    group = BLASTS_AND_PROMYELOCYTES.model_copy(update={"name": name})
    cells = cells_with({CellClass.NGS: 60, CellClass.MYO: 3, CellClass.PMO: 5})
    return report_of(cells, parameters=ScanParameters(blasts=group))[0]


def report_of_few_leukocytes() -> Report:
    """So few that the model's errors hide any percentage."""
    return report_of(cells_with({CellClass.NGS: 4}))[0]


REPORTS = {
    "golden": golden_report(),
    "mixed": report_of(random_cells(400))[0],
    "no cells": empty_report(),
    "no leukocytes": report_without_leukocytes(),
    "every class": report_of_every_class(),
    "no blast class": report_without_blast_classes(),
    "regrouped": regrouped_report(),
    "few leukocytes": report_of_few_leukocytes(),
}
