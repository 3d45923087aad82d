"""``vosfm fit``, ``validate``, ``test`` and ``predict``: Lightning's command line on our task."""

from __future__ import annotations

import ast
import json
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from lightning.pytorch.loggers import WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_warn

from vosfm.callbacks import PredictionWriter
from vosfm.checkpoints.loading import check_resumable, load
from vosfm.errors import InputError
from vosfm.loggers import settle
from vosfm.oracle import Oracle
from vosfm.task import SegmentationTask
from vosfm.zoo import CONFIGS

# Lightning's own use of torch, which nobody who reads it here can mend.
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")

_OURS = {"weights_only", "return_predictions"}
"""Options of the trainer that are not the user's: no code is loaded, no result held in memory."""

_ORACLES = ("validate", "test")
"""The commands that measure how much better a model would be if it were told the truth."""


class _Parser(LightningArgumentParser):
    """Lightning's parser, which takes null deep within a model, too."""

    def parse_args(  # type: ignore[override]  # as jsonargparse's own
        self, args: Sequence[str] | None = None, *others: Any, **named: Any
    ) -> Any:
        # An option of a part of a part goes through a parser for each, and jsonargparse hands it on
        # as Python spells it: null would be the word None.
        if args is not None and getattr(self, "_inner_parser", False):
            args = [_in_json(argument) for argument in args]
        return super().parse_args(args, *others, **named)


class _SaveConfig(SaveConfigCallback):
    """Saves the config in the folder of a run, and with the run in Weights & Biases."""

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        config = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(config)


class TaskCLI(LightningCLI):
    """LightningCLI with our names of configs, ways of loading and place of results.

    Args:
        arguments: as on the command line; the first is the command.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        super().__init__(
            SegmentationTask,
            LightningDataModule,
            subclass_mode_data=True,
            parser_class=_Parser,
            # The plain mode ignores what the command line changes in an interpolation.
            parser_kwargs={"parser_mode": "omegaconf+", "exit_on_error": False, "prog": "vosfm"},
            save_config_callback=_SaveConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            # A checkpoint holds weights; what they belong to is told by configs.
            load_from_checkpoint_support=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, and the arguments that each sets itself."""
        return {name: skip | _OURS for name, skip in LightningCLI.subcommands().items()}

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, with the short names of configs written out."""
        self.config = parser.parse_args(spell_out(self._arguments))

    def before_instantiate_classes(self) -> None:
        """Only a training writes its config, only a prediction masks; logs have a place."""
        self.save_config_kwargs["save_to_log_dir"] = self.subcommand == "fit"
        if self.subcommand == "predict":
            self.trainer_defaults["callbacks"] = [
                PredictionWriter(
                    self.config.predict.out, overlap=not self.config.predict.model.exclusive
                )
            ]
            self.config.predict.trainer.logger = False  # there is nothing to log but masks
        settle(self.config[self.subcommand].trainer)
        if self.subcommand in _ORACLES and self.config[self.subcommand].oracle is not None:
            self.config[self.subcommand].model.oracle = self.config[self.subcommand].oracle

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.add_argument(
                "--out", type=str, required=True, help="folder for the masks, one folder a video"
            )
        if subcommand in _ORACLES:
            parser.add_argument(
                "--oracle",
                type=Oracle | None,
                default=None,
                help="tell the model the truth of every frame that has one: box (objects are seen "
                "within their true boxes only), mask (true masks are remembered), or both",
            )
        return parser

    def _parse_ckpt_path(self) -> None:
        """Nothing but weights is taken from a checkpoint, and those when the model is there."""

    def instantiate_classes(self) -> None:
        """Build everything.

        Raises:
            InputError: if a part refuses its arguments.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise _root(error) from error

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        arguments = super()._prepare_subcommand_kwargs(subcommand)
        path = arguments.pop("ckpt_path", None)
        if path is not None:
            load(self.model.segmenter, path)
        elif subcommand != "fit":
            rank_zero_warn("no --ckpt_path: the weights are those that the model is built with")
        if subcommand == "fit" and path is not None:
            check_resumable(path)
            arguments["ckpt_path"] = path
        if subcommand == "predict":
            arguments["return_predictions"] = False
        return {**arguments, "weights_only": True}


def main(arguments: Sequence[str]) -> None:
    """Run a command.

    Args:
        arguments: the command's name, then its options.

    Raises:
        InputError: if a config, a checkpoint or the data is unusable.
        KeyboardInterrupt: after Ctrl-C, when everything has been put away.
    """
    try:
        TaskCLI(arguments)
    except (ArgumentError, MisconfigurationException) as error:
        raise InputError(str(error)) from error
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def spell_out(arguments: Sequence[str]) -> list[str]:
    """Replace short names of configs, such as ``model/aot_t``, by the files that they name."""
    spelled = []
    previous = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if previous in ("-c", "--config"):
            argument = _config(argument)
        elif option == "--config" and equals:
            argument = f"{option}={_config(value)}"
        spelled.append(argument)
        previous = argument
    return spelled


def _root(error: ValueError) -> InputError:
    """What a part said of its arguments, under what the parser then said of the parts around it."""
    cause: BaseException = error
    while not isinstance(cause, InputError) and cause.__cause__ is not None:
        cause = cause.__cause__
    return cause if isinstance(cause, InputError) else InputError(f"config: {cause}")


def _in_json(argument: str) -> str:
    """Respell null, a list or a mapping; all else reads the same in Python and in YAML."""
    option, _, value = argument.partition("=")
    try:
        told = ast.literal_eval(value)
        if told is None or isinstance(told, list | dict):
            return f"{option}={json.dumps(told, ensure_ascii=False)}"
    except (SyntaxError, TypeError, ValueError):
        pass  # a word of the user's own
    return argument


def _config(name: str) -> str:
    file = CONFIGS / f"{name.removesuffix('.yaml')}.yaml"
    return str(file) if file.is_file() and not Path(name).is_file() else name
