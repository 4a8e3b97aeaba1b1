"""The commands of bundles: ``kdmarl-sat fly``, ``quantise``, ``export`` and ``sign``.

Torch and Basilisk are imported only once the settings are known to be good.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from kdmarl_sat.arguments import Parser, whole
from kdmarl_sat.command import command, sentences
from scenarios.onboard_sim import OnboardSimConfig
from scenarios.quantise import QuantiseRunConfig

SIGN = """Sign bundles, so that an executor with the operator's key flies no others (docs/security.md).

kdmarl-sat sign new-key FILE                      a random key, readable by its owner only
kdmarl-sat sign bundle FOLDER key=FILE sequence=N [ed25519=PRIVATE.pem]
kdmarl-sat sign verify FOLDER key=FILE [ed25519=PUBLIC.pem]

Sequence numbers grow: a bundle below the newest one accepted is refused.
"""


def fly() -> None:
    command("kdmarl-sat fly", "onboard_sim", OnboardSimConfig, _fly)


def _fly(config: OnboardSimConfig, folder: Path) -> None:
    from kdmarl_sat.bundles.fly import simulate

    simulate(config, folder)


def quantise() -> None:
    command("kdmarl-sat quantise", "quantise", QuantiseRunConfig, _quantise)


def _quantise(config: QuantiseRunConfig, folder: Path) -> None:
    from kdmarl_sat.bundles.quantise import quantise

    quantise(config, folder)


def export(arguments: Sequence[str] | None = None) -> None:
    from kdmarl_sat.bundles import export

    given = sys.argv[1:] if arguments is None else list(arguments)
    with sentences("kdmarl-sat export"):
        if not given or {"-h", "--help"} & set(given):
            print(export.__doc__)
            return
        for path in export.export(export.Order.parse(given)):
            print(f"{path}: {path.stat().st_size} bytes")


def sign(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat sign", description=SIGN)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("new-key").add_argument("file", type=Path)
    for name in ("bundle", "verify"):
        each = commands.add_parser(name)
        each.add_argument("folder", type=Path)
        each.add_argument("--key", type=Path, required=True)
        each.add_argument("--ed25519", type=Path, help="PEM file")
        if name == "bundle":
            each.add_argument("--sequence", type=whole("sequence", 1, 2**63 - 1), required=True)
    options = parser.parse_args(arguments)

    from kdmarl_sat.bundles import sign
    from onboard.authentic import fingerprint, new_key, read_key

    with sentences(parser.prog):
        if options.command == "new-key":
            new_key(options.file)
            print(f"{options.file}: key {fingerprint(read_key(options.file))}")
        elif options.command == "bundle":
            written = sign.sign(options.folder, options.key, options.sequence, options.ed25519)
            print(f"{written}: sequence {options.sequence}")
        else:
            print(f"{options.folder}: signed, sequence {sign.verify(options.folder, options.key, options.ed25519)}")
