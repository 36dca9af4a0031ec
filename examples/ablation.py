"""Does the boundary loss help? The demo's network trained with and without it, patient by patient.

    python -m examples.ablation                    # every run that out/ablation.json lacks
    python -m examples.ablation --seeds 3 4        # more of them, into the same file
    python -m examples.ablation --report-only      # the file into docs/ablation.json and .md
    python -m examples.ablation --paper --help     # the paper's experiment, at its own length

Each of the three patients is left out in turn; the other two train. A finished run is written to
the file at once: stopped at any time, the same command goes on with the run that was interrupted,
from its beginning. On the CPU, OMP_NUM_THREADS=1 makes a run repeatable to the last bit.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from examples import ablation_report, ablation_runs, evaluation, lesions, paper, slices
from examples.ablation_runs import RECIPES, Results, Run
from fastdist import providers


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    choice = parser.add_argument
    choice(
        "--results",
        type=Path,
        default=Path("out/ablation.json"),
        help="where the runs are kept; those it holds are not repeated (default: %(default)s)",
    )
    choice(
        "--seeds",
        type=int,
        nargs="+",
        default=list(ablation_runs.SEEDS),
        help="of weights, order and augmentation (default: 1 2)",
    )
    choice(
        "--epochs",
        type=int,
        default=ablation_runs.EPOCHS,
        help="of the demo's recipe, and of generalised Dice beside it (default: %(default)s)",
    )
    choice(
        "--long-epochs",
        type=int,
        default=ablation_runs.LONG_EPOCHS,
        help="of rebalancing, and of generalised Dice beside it (default: %(default)s)",
    )
    choice("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if present)")
    choice(
        "--report-only",
        action="store_true",
        help="train nothing: copy the results to docs/ablation.json, their tables to ablation.md",
    )
    choice("--paper", action="store_true", help="the paper's experiment; options: --paper --help")
    return parser.parse_args(arguments)


def do_run(run: Run, epochs: int, device: torch.device) -> Results:
    """Train on the other patients, and see what the network finds in this one."""
    options = [*RECIPES[run.recipe].options, "--epochs", str(epochs), "--seed", str(run.seed)]
    training = [name for name in slices.PATIENTS if name != run.held_out]
    network, report = lesions.train(lesions.parse_arguments(options), device, training)

    patient = slices.load_patient(run.held_out)
    prediction = lesions.predict(network, patient.images, device)
    report |= lesions.score(patient, prediction, training)
    report |= evaluation.lesions_found(prediction, patient.labels == 1)
    if not math.isfinite(report["hd95_mm"]):
        report["hd95_mm"] = None  # nothing found; JSON has no infinity
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in report.items()}
    return run._asdict() | {"epochs": epochs} | rounded | environment(device)


def environment(device: torch.device) -> dict[str, str | int | None]:
    """What a run's last bits, and its seconds, depend on."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "provider": providers.current(device),
    }


def run_all(settings: argparse.Namespace) -> Results:
    """Do what is missing; the file is read again before each run, others may write to it too."""
    device = lesions.find_device(settings.device)
    lengths = settings.epochs, settings.long_epochs
    results = ablation_runs.open_results(settings.results, settings.seeds, *lengths)
    wanted = list(ablation_runs.planned(settings.seeds))
    missing = [run for run in wanted if run not in ablation_runs.finished(results)]
    print(f"{len(missing)} of {len(wanted)} runs to do on {device}, into {settings.results}")

    with tqdm(total=len(wanted), initial=len(wanted) - len(missing), unit="run") as bar:
        for run in missing:
            bar.set_description(f"{run.recipe}, without {run.held_out}, seed {run.seed}")
            if run not in ablation_runs.finished(ablation_runs.load(settings.results)):
                outcome = do_run(run, ablation_runs.epochs_of(run.recipe, results), device)
                results = ablation_runs.load(settings.results)
                results["runs"].append(outcome)
                ablation_runs.save(results, settings.results)
                tqdm.write(ablation_report.one_line(outcome))
            bar.update()
    return ablation_runs.load(settings.results)


def main(arguments: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--paper" in arguments:
        return paper.main([one for one in arguments if one != "--paper"])
    settings = parse_arguments(arguments)
    if settings.report_only:
        ablation_report.publish(ablation_runs.load(settings.results))
        print(f"wrote {os.path.relpath(ablation_report.PAGE)} and its JSON")
    else:
        print(ablation_report.section(run_all(settings)))


if __name__ == "__main__":
    main()
