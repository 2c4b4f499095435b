from __future__ import annotations

import json
from pathlib import Path

import pytest

from losswatch.schema import RunStart, Steps
from service.replay.mapping import Options
from service.replay.notes import Unreadable
from service.replay.sources import Log, open_log
from service.replay.weights import Weights, weights_in


def write(folder: Path, *, first: str = "", weight: float = 5.0, twins: bool = True) -> Path:
    """A log of DETR with two parts, the second of them also of an intermediate layer."""
    rows = []
    for epoch in range(20):
        row: dict[str, float] = {"train_lr": 1e-4, "epoch": epoch}
        for phase in ("train", "test"):
            parts = {"loss_ce": (1.0, 2.0), "loss_bbox": (weight, 0.5), "loss_bbox_0": (weight, 0.25)}
            for name, (factor, least) in parts.items():
                value = least * (1 + 20 / (1 + epoch))
                row[f"{phase}_{name}"] = factor * value
                if twins:
                    row[f"{phase}_{name}_unscaled"] = value
            row[f"{phase}_loss"] = sum(row[f"{phase}_{name}"] for name in parts)
        rows.append(json.dumps(row))
    folder.mkdir(exist_ok=True)
    (folder / "log.txt").write_text(first + "\n".join(rows) + "\n")
    return folder / "log.txt"


def declared(log: Log) -> dict[str, dict[str, float]]:
    """The weights by phase; those of a plain sum are empty."""
    (start,) = (record for record in log.records() if isinstance(record, RunStart))
    return {phase: dict(objective.weights) for phase, objective in start.objective.items()}


WEIGHTS = {"loss_ce": 1.0, "loss_bbox": 5.0, "loss_bbox_0": 5.0}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("args.json", '{"lr": 0.0001, "bbox_loss_coef": 5, "giou_loss_coef": 2.0}'),
        ("config.yaml", "lr: 1e-4\nbbox_loss_coef: 5.0\n"),
        ("args.txt", "Namespace(lr=0.0001, bbox_loss_coef=5, masks=False)"),
        ("config_cfg.py", "lr = 1e-4\ncls_loss_coef = 1.0\nbbox_loss_coef = 5.0\n"),
        ("config.yml", "criterion:\n  weight_dict: {loss_ce: 1, loss_bbox: 5, loss_giou: 2}\n"),
        ("config.json", '{"weight_dict": {"loss_ce": 1, "loss_bbox": 5}}'),
    ],
)
def test_weights_beside_a_log_are_declared_of_parts_without_them(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    log = open_log(write(tmp_path))
    assert declared(log) == {"train": WEIGHTS, "val": WEIGHTS}
    assert f"weights from {tmp_path / name}: " in log.explain()
    record = next(record for record in log.records() if isinstance(record, Steps))
    assert record.total is not None
    parts = sum(WEIGHTS[part] * values for part, values in record.components.items())
    assert parts == pytest.approx(record.total)
    assert record.components.keys() == WEIGHTS.keys()


def test_arguments_printed_in_the_log_are_read(tmp_path: Path) -> None:
    log = open_log(write(tmp_path, first="Namespace(bbox_loss_coef=5, lr=0.0001)\n"))
    assert declared(log)["train"] == WEIGHTS
    assert "weights from the arguments in the log: loss_bbox 5, loss_ce 1" in log.explain()


def test_a_named_configuration_wins_over_the_one_beside_the_log(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text('{"bbox_loss_coef": 7}')
    named = tmp_path / "job.ini"
    named.write_text("bbox_loss_coef = 5")
    log = open_log(write(tmp_path), Options(config=named))
    assert declared(log)["train"] == WEIGHTS
    assert f"weights from {named}" in log.explain()


def test_weights_of_a_mapping_are_declared(tmp_path: Path) -> None:
    log = open_log(write(tmp_path), Options(weights={"loss_ce": 1.0, "loss_bbox": 5.0}))
    assert declared(log)["val"] == WEIGHTS
    table = tmp_path / "own.csv"
    table.write_text("step,loss,loss_a,loss_b\n" + "".join(f"{i},{1 + 2 * i},1,{i}\n" for i in range(9)))
    log = open_log(table, Options(weights={"loss_b": 2.0}))
    assert declared(log) == {"train": {"loss_b": 2.0}}
    assert "weights from your mapping" in log.explain()


@pytest.mark.parametrize(
    ("text", "weight", "twins", "why"),
    [
        ("bbox_loss_coef: 4", 5.0, True, "that of loss_bbox is not 4 in the log"),
        ("weight_dict: {loss_ce: 1}", 5.0, True, "loss_bbox has none there"),
        ("bbox_loss_coef: 5", 5.0, False, "the log has train_loss_ce with its weight alone"),
    ],
)
def test_weights_that_the_log_contradicts_are_not_used(
    tmp_path: Path, text: str, weight: float, twins: bool, why: str
) -> None:
    (tmp_path / "args.yaml").write_text(text)
    log = open_log(write(tmp_path, weight=weight, twins=twins))
    assert declared(log) == {"train": {}, "val": {}}
    assert f"the weights of {tmp_path / 'args.yaml'} are not used: {why}" in log.explain()


def test_a_configuration_without_weights_is_said(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("lr: 1\n")
    log = write(tmp_path)
    with pytest.raises(Unreadable, match=r"empty\.yaml: it gives no loss a weight"):
        open_log(log, Options(config=empty))
    with pytest.raises(Unreadable, match=r"gone\.yaml: it cannot be read: No such file"):
        open_log(log, Options(config=tmp_path / "gone.yaml"))
    assert declared(open_log(log))["train"] == {}


def test_text_without_weights_gives_none() -> None:
    assert weights_in("eos_coef: 0.1\nloss: 3\n") == {}
    assert Weights({"loss_bbox": 5.0, "loss_bbox_dn": 2.0}, "x").of("loss_bbox_dn_1") == 2.0
