from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from scripts import generate_settings_docs
from service.settings import Settings


def test_the_settings_document_is_up_to_date() -> None:
    assert generate_settings_docs.TARGET.read_text() == generate_settings_docs.render()


def test_every_setting_is_described_in_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name


def test_the_environment_sets_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSWATCH_PARTITIONS", "3")
    monkeypatch.setenv("LOSSWATCH_THRESHOLDS", '{"class_entropy_floor": 0.8}')
    settings = Settings(partitions=4)
    assert settings.partitions == 4
    assert settings.thresholds == {"class_entropy_floor": 0.8}


def test_secrets_reach_kafka_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSWATCH_KAFKA", '{"security_protocol": "SASL_SSL", "ssl_password": "swordfish"}')
    monkeypatch.setenv("LOSSWATCH_KAFKA_PASSWORD", "12345")
    settings = Settings()
    assert settings.kafka_arguments() == {
        "security_protocol": "SASL_SSL",
        "ssl_password": "swordfish",
        "sasl_plain_password": "12345",
    }
    shown = f"{settings!r}{settings}{settings.model_dump()}{settings.model_dump_json()}"
    assert "swordfish" not in shown
    assert "12345" not in shown


def test_a_refused_setting_does_not_show_what_was_in_it() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"kafka": "swordfish"})
    assert "swordfish" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"poll_records": 0}, {"http_port": 70_000}, {"checkpoint_seconds": float("inf")}])
def test_impossible_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_settings_cannot_be_changed() -> None:
    settings = Settings(kafka_password=SecretStr("x"))
    with pytest.raises(ValidationError, match="frozen"):
        settings.group = "other"  # type: ignore[misc]  # mypy knows it too
