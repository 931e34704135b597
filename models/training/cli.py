"""`smearscan train …`: training and evaluation from the command line."""

from typing import Any

import click

from models.errors import ModelError
from models.training.classifier.cli import cross_validate_classifier, fit_classifier
from models.training.classifier.export_cli import export, import_weights
from models.training.classifier.head_cli import refit_head
from models.training.data.cli import prepare
from models.training.detector.cli import evaluate_detector, fit_detector
from models.training.detector.leave_out import leave_detector_out
from models.training.evaluation.cli import evaluate
from models.training.evaluation.human import human
from models.training.evaluation.model_card_cli import write_model_card


class TrainGroup(click.Group):
    """Commands in the order of the work; what is wrong is said in words, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command; a `ModelError` becomes a message and exit code 1."""
        try:
            return super().invoke(ctx)
        except ModelError as err:
            raise click.ClickException(str(err)) from err

    def list_commands(self, ctx: click.Context) -> list[str]:
        """From labelled cells to weights, then the detector."""
        return list(self.commands)


@click.group(cls=TrainGroup)
def train() -> None:
    """Train and evaluate the networks (extra `train`)."""


train.add_command(prepare)
train.add_command(human)
train.add_command(fit_classifier, "fit")
train.add_command(cross_validate_classifier, "crossval")
train.add_command(refit_head, "refit")
train.add_command(evaluate)
train.add_command(export)
train.add_command(import_weights, "import")
train.add_command(write_model_card, "model-card")
train.add_command(fit_detector, "detector")
train.add_command(leave_detector_out, "detector-leave-out")
train.add_command(evaluate_detector, "evaluate-detector")
