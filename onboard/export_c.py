"""One satellite's network as one C file and its header, for a bare-metal project that has nothing else of ours.

The file is the engine, compiled for maxima that just fit, the weight table, and a few golden decisions that it must
reproduce before it decides.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from onboard import golden, table
from onboard.build import ENGINE
from onboard.bundle import SatelliteBundle
from onboard.golden import Golden
from onboard.network import Network, count_storage_words
from onboard.spec import AgentSpec, BoolArray, FloatArray

SOURCES = (
    "kd_engine.h",
    "kd_crc.h",
    "kd_linear.h",
    "kd_math.h",
    "kd_crc.c",
    "kd_linear.c",
    "kd_table.c",
    "kd_engine.c",
)
GOLDEN = 8  # decisions
SCRUB_WORDS = 16  # of the weights, whose CRC-32 is carried on with each decision


class ExportError(ValueError):
    """An export that cannot be written; the message is one sentence."""


def write(folder: str | Path, satellite: SatelliteBundle, origin: str) -> tuple[Path, Path]:
    """Write student.h and student.c, and return where; ``origin`` says in their comments what they were made of.

    Raises ExportError: one of them exists, or cannot be written.
    """
    first, second = places(folder)
    for path, text in ((first, header(satellite, origin)), (second, source(satellite))):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="ascii")
            temporary.rename(path)
        except OSError as error:
            raise ExportError(f"{path} could not be written: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)
    return first, second


def places(folder: str | Path) -> tuple[Path, Path]:
    """Where ``write`` puts student.h and student.c.

    Raises ExportError: one of them exists.
    """
    first, second = Path(folder) / "student.h", Path(folder) / "student.c"
    for path in (first, second):
        if os.path.lexists(path):
            raise ExportError(f"{path} already exists and is not overwritten")
    return first, second


def header(satellite: SatelliteBundle, origin: str) -> str:
    spec, network = satellite.spec, satellite.network
    return _HEADER.format(
        name=_plain(spec.name),
        origin=_plain(origin),
        kind=f"{network.design.architecture.value}, {network.design.hidden} units, {network.design.dtype.value}",
        columns=_comment(_columns(spec)),
        actions=_comment(f"{index:3d}  {name}" for index, name in enumerate(spec.actions)),
        fallback=spec.actions.index(satellite.fallback[0]),
        statuses="\n".join(_statuses()),
        scrub=SCRUB_WORDS,
        obs=spec.obs_size,
        action_count=len(spec.actions),
        hidden=network.design.hidden,
        length=len(table.dump(network, spec)),
        send=_SEND_DECLARED.format(bits=network.design.message_bits) if network.design.message_bits else "",
    )


def source(satellite: SatelliteBundle) -> str:
    spec, network = satellite.spec, satellite.network
    engine = "\n".join(_without_includes((ENGINE / name).read_text()) for name in SOURCES)
    data = table.dump(network, spec)
    return _SOURCE.format(
        units=-(-network.design.hidden // 8) * 8,
        obs=spec.obs_size,
        slots=max(1, spec.slots),
        actions=len(spec.actions),
        blocks=len(spec.blocks),
        engine=engine,
        words=count_storage_words(spec, network.design),
        table=_rows(f"0x{byte:02X}" for byte in data),
        described=48 + 4 * len(spec.blocks),
        scrub=SCRUB_WORDS,
        send=_SEND if network.design.message_bits else "",
        **_golden(satellite, spec, network),
    )


def _golden(satellite: SatelliteBundle, spec: AgentSpec, network: Network) -> dict[str, str | int]:
    """The reference's answers to the bundle's first questions; those in an old bundle may be another's."""
    recorded = golden.record(network, spec, satellite.golden.obs[:GOLDEN], satellite.golden.mask[:GOLDEN])
    return {
        "golden_count": len(recorded.action),
        "golden_obs": _matrix(recorded.obs),
        "golden_mask": _matrix(recorded.mask),
        "golden_logits": _matrix(recorded.logits),
        "golden_actions": _rows(str(action) for action in recorded.action),
        **_messages(recorded),
    }


def _messages(recorded: Golden) -> dict[str, str]:
    """The golden messages and their check; empty where the network sends none."""
    if recorded.message is None:
        return {"golden_messages": "", "check_message": ""}
    messages = _rows(f"{message}u" for message in recorded.message)
    declared = f"static const uint32_t student_golden_messages[STUDENT_GOLDEN] = {{\n{messages}\n}};\n"
    return {"golden_messages": declared, "check_message": _CHECK_MESSAGE}


def _columns(spec: AgentSpec) -> Iterable[str]:
    start = 0
    for block in spec.blocks:
        place = f"{start:3d}..{start + block.columns - 1:3d}"
        each = f" for each of {block.slots} slots, slot after slot" if block.slots else ""
        yield f"{place}  {block.name}: {block.size}{each}; [{block.unit}] divided by {block.scale:g}"
        start += block.columns


def _statuses() -> Iterable[str]:
    """The engine's errors as macros."""
    declared = (ENGINE / "kd_engine.h").read_text()
    for name, value, text in re.findall(r"^ *KD_(ERR_\w+) = (-\d+),? +/\* (.*) \*/$", declared, re.MULTILINE):
        yield f"#define STUDENT_{name} ({value}) /* {text} */"


def _comment(lines: Iterable[str]) -> str:
    return "\n".join(f" *   {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """Text that stays within a C comment, whatever a bundle says."""
    return re.sub(r"[^ -~]", "?", text).replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")


def _without_includes(text: str) -> str:
    return re.sub(r"^#include .*\n", "", text, flags=re.MULTILINE)


def _matrix(values: FloatArray | BoolArray) -> str:
    """Rows of exact hexadecimal floats, or of 0 and 1."""
    return ",\n".join(f"    {{\n{_rows(map(_literal, row.tolist()), '        ')}\n    }}" for row in values)


def _literal(value: float | bool) -> str:
    return str(int(value)) if isinstance(value, bool) else re.sub(r"\.?0*p", "p", value.hex()) + "f"


def _rows(literals: Iterable[str], indent: str = "    ") -> str:
    lines, line = [], ""
    for literal in literals:
        if len(indent) + len(line) + len(literal) > 116:
            lines.append(indent + line.rstrip())
            line = ""
        line += f"{literal}, "
    lines.append(indent + line.rstrip(", "))
    return "\n".join(lines)


_HEADER = """\
/* The onboard policy of satellite {name} ({kind}).
 * Generated from {origin}; do not edit.
 *
 * Observation columns:
{columns}
 * Actions:
{actions}
 *
 * All memory is static and no heap, libc or libm is used, but a compiler may call memcpy and memset. One decision at a
 * time: call from one task only. Compile student.c with -std=c99 -ffp-contract=off and without -ffast-math: every
 * processor with IEEE 754 single precision then gives the same bits.
 */
#ifndef STUDENT_H
#define STUDENT_H

#include <stdint.h>

#define STUDENT_OBS {obs}
#define STUDENT_ACTIONS {action_count}
#define STUDENT_HIDDEN {hidden}
#define STUDENT_FALLBACK {fallback} /* the action to take instead of a missing answer */
#define STUDENT_TABLE_BYTES {length} /* of a weight table */

/* Every function returns 0 or above, or what is wrong. */
{statuses}

/* Load the weights in student.c and reproduce the golden decisions, to the bit. Call it before all else, and again when
 * a decision says that the weights in memory have changed. After a failure nothing else works. */
int32_t student_init(void);

/* Whether a table (a satellite's .kdwt file) is sound and of the same shape as the one in student.c. */
int32_t student_validate(const uint8_t *table, uint32_t length);

/* Look for upsets: the sum of all weights, and their CRC-32, carried on by at most `words` of them. Every decision does
 * it by {scrub}. */
int32_t student_scrub(uint32_t words);

/* Decide by another table from now on, best with a memory of 0 again; a table that is refused changes nothing. */
int32_t student_load(const uint8_t *table, uint32_t length);

/* The action for obs [STUDENT_OBS] among those whose mask [STUDENT_ACTIONS] is 1. hidden [STUDENT_HIDDEN] is the
 * policy's memory, all 0 when a mission begins: it is carried on, and kept as it is on an error. logits
 * [STUDENT_ACTIONS] are written, of illegal actions too. */
int32_t student_decide(const float *obs, const uint8_t *mask, float *hidden, float *logits);
{send}
#endif
"""

_SEND_DECLARED = """
#define STUDENT_MESSAGE_BITS {bits}

/* The message to send before a decision, its first bit the lowest: of obs without its last block, which is what is
 * heard, and of hidden, as the decision before left it. */
int32_t student_send(const float *obs, const float *hidden, uint32_t *message);
"""

_SEND = """
int32_t student_send(const float *obs, const float *hidden, uint32_t *message)
{
    return kd_send(&student_model, obs, hidden, message);
}
"""

_CHECK_MESSAGE = """
        uint32_t message = 0u;
        const int32_t sent = student_send(student_golden_obs[t], hidden, &message);
        if (sent != KD_OK) {
            return sent;
        }
        if (message != student_golden_messages[t]) {
            return KD_ERR_OUTPUT;
        }"""

_SOURCE = """\
#include "student.h"

#include <stddef.h>

#define KD_MAX_UNITS {units}
#define KD_MAX_OBS {obs}
#define KD_MAX_SLOTS {slots}
#define KD_MAX_ACTIONS {actions}
#define KD_MAX_BLOCKS {blocks}

{engine}
/* What is this satellite's own. */

#define STUDENT_WORDS {words}u
#define STUDENT_DESCRIBED_FROM 16u
#define STUDENT_DESCRIBED_TO {described}u
#define STUDENT_SCRUB_WORDS {scrub}u
#define STUDENT_GOLDEN {golden_count}u

static const uint8_t student_table[STUDENT_TABLE_BYTES] = {{
{table}
}};

static const float student_golden_obs[STUDENT_GOLDEN][STUDENT_OBS] = {{
{golden_obs}
}};
static const uint8_t student_golden_mask[STUDENT_GOLDEN][STUDENT_ACTIONS] = {{
{golden_mask}
}};
static const float student_golden_logits[STUDENT_GOLDEN][STUDENT_ACTIONS] = {{
{golden_logits}
}};
static const int32_t student_golden_actions[STUDENT_GOLDEN] = {{
{golden_actions}
}};
{golden_messages}
static int student_proven; /* the golden decisions were reproduced */
static kd_model student_model;
static kd_word student_storage[STUDENT_WORDS];

static int32_t student_golden(void)
{{
    float hidden[STUDENT_HIDDEN];
    float logits[STUDENT_ACTIONS];
    uint32_t t;
    uint32_t j;
    for (j = 0u; j < (uint32_t)STUDENT_HIDDEN; j++) {{
        hidden[j] = 0.0f;
    }}
    for (t = 0u; t < STUDENT_GOLDEN; t++) {{{check_message}
        const int32_t action = student_decide(student_golden_obs[t], student_golden_mask[t], hidden, logits);
        if (action < 0) {{
            return action;
        }}
        if (action != student_golden_actions[t]) {{
            return KD_ERR_OUTPUT;
        }}
        for (j = 0u; j < (uint32_t)STUDENT_ACTIONS; j++) {{
            kd_word found;
            kd_word expected;
            found.value = logits[j];
            expected.value = student_golden_logits[t][j];
            if (found.bits != expected.bits) {{
                return KD_ERR_OUTPUT;
            }}
        }}
    }}
    return KD_OK;
}}

int32_t student_validate(const uint8_t *table, uint32_t length)
{{
    const int32_t status = kd_validate(table, length);
    uint32_t i;
    if (status != KD_OK) {{
        return status;
    }}
    if (length != (uint32_t)STUDENT_TABLE_BYTES) {{
        return KD_ERR_SHAPE;
    }}
    for (i = STUDENT_DESCRIBED_FROM; i < STUDENT_DESCRIBED_TO; i++) {{
        if (table[i] != student_table[i]) {{
            return KD_ERR_SHAPE;
        }}
    }}
    return KD_OK;
}}

int32_t student_load(const uint8_t *table, uint32_t length)
{{
    const int32_t status = (student_proven != 0) ? student_validate(table, length) : KD_ERR_ARGUMENT;
    return (status == KD_OK) ? kd_load(&student_model, table, length, student_storage, STUDENT_WORDS) : status;
}}

int32_t student_scrub(uint32_t words)
{{
    int32_t status;
    if (student_model.storage == 0) {{
        return KD_ERR_ARGUMENT;
    }}
    status = kd_verify(&student_model);
    return (status == KD_OK) ? kd_scrub(&student_model, words) : status;
}}

int32_t student_init(void)
{{
    int32_t status =
        kd_load(&student_model, student_table, (uint32_t)STUDENT_TABLE_BYTES, student_storage, STUDENT_WORDS);
    if (status == KD_OK) {{
        status = student_golden();
    }}
    student_proven = (status == KD_OK);
    if (status != KD_OK) {{
        student_model.storage = 0; /* the engine refuses a model without */
    }}
    return status;
}}

int32_t student_decide(const float *obs, const uint8_t *mask, float *hidden, float *logits)
{{
    static float next[STUDENT_HIDDEN];
    const int32_t action = kd_decide(&student_model, obs, mask, hidden, next, logits, STUDENT_SCRUB_WORDS);
    uint32_t j;
    for (j = 0u; (action >= 0) && (j < (uint32_t)STUDENT_HIDDEN); j++) {{
        hidden[j] = next[j];
    }}
    return action;
}}
{send}"""
