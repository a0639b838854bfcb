"""docs/schema.md is complete and true: every example loads, every key, type, code and word stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alyx.schema import fields, load, model, richtext, section, text, yaml

DOCUMENT = (Path(__file__).parents[2] / "docs" / "schema.md").read_text()
EXAMPLES = [block for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL) if block.startswith("version:")]
WORDS = {word for quoted in re.findall(r"`([^`\n]+)`", DOCUMENT) for word in (quoted, *re.split(r"[^\w]+", quoted))}
CODES = [
    *("required", "invalid_type", "min_length", "max_length", "min_value", "max_value", "pattern", "enum", "unknown_field"),
    *("invalid_email", "invalid_url", "invalid_uuid", "invalid_id", "invalid_date", "invalid_timestamp", "invalid_select"),
    *("max_select", "read_only"),
]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_is_a_good_schema(number: int) -> None:
    assert load.loads(EXAMPLES[number]).collections


@pytest.mark.parametrize(
    "word",
    [
        *load.TOP_KEYS,
        *load.COLLECTION_KEYS,
        *load.INDEX_KEYS,
        *load.MODES,
        *fields.KEYS,
        *fields.VALIDATE_KEYS,
        *fields.RICHTEXT_KEYS,
        *fields.SELECT_KEYS,
        *fields.RELATION_KEYS,
        *fields.ON_DELETE,
        *text.FORMS,
        *richtext.PRESETS,
        *richtext.FEATURES,
        *(sorted(richtext.TAGS - {f"h{number}" for number in range(2, 6)})),
        *(str(item) for item in model.Type),
        *model.OPERATIONS,
        *model.CHANNEL_OPERATIONS,
        *CODES,
    ],
)
def test_every_word_of_the_format_is_named(word: str) -> None:
    assert word in WORDS


def test_the_limits_in_the_document_are_those_of_the_code() -> None:
    for length in model.DEFAULT_MAX_LENGTH.values():
        assert f"{length:,} characters" in DOCUMENT
    assert f"at most {section.MAX_NAME} characters" in DOCUMENT
    assert f"nest {richtext.MAX_DEPTH} deep" in DOCUMENT
    assert f"may hold {richtext.MAX_TAGS:,} of them" in DOCUMENT
    assert yaml.MAX_BYTES == 2**20
    assert f"`{richtext.DEFAULT_PRESET}` (the default)" in DOCUMENT


def test_the_document_shows_what_each_preset_adds() -> None:
    shown = re.findall(
        r"^\| `(\w+)`[^|]*\| (?:and )?(`[^|]+`) \|$", DOCUMENT.split("| preset |")[1].split("`allow`")[0], re.MULTILINE
    )
    features: list[str] = []
    for preset, names in shown:
        features += re.findall(r"`(\w+)`", names)
        assert richtext.resolve(preset, (), ()) == richtext.ALWAYS.union(*(richtext.FEATURES[name] for name in features))
    assert [preset for preset, _ in shown] == list(richtext.PRESETS)
