"""Run by an interpreter that has Anonymeter: its three risks of the tables in a folder, as JSON. It needs an older NumPy than ours."""

import json
import sys
import warnings
from pathlib import Path

import pandas as pd
from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator, SinglingOutEvaluator

warnings.filterwarnings("ignore")
folder, half, secret = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3]


def read(name):
    table = pd.read_csv(folder / f"{name}.csv")
    numbers = table.select_dtypes("number").columns
    text = [c for c in table.columns if c not in numbers]
    table[numbers] = table[numbers].fillna(table[numbers].median())
    table[text] = table[text].astype(object).fillna("missing").astype(str).astype(object)
    return table


tables = {"ori": read("train"), "syn": read("synth"), "control": read("holdout")}
rest = [c for c in tables["ori"].columns if c not in half]
others = [c for c in tables["ori"].columns if c != secret]
attacks = {
    "singling_out": SinglingOutEvaluator(**tables, n_attacks=150, n_cols=3, seed=1, max_attempts=20_000),
    "linkability": LinkabilityEvaluator(**tables, n_attacks=2_000, aux_cols=(half, rest)),
    "inference": InferenceEvaluator(**tables, n_attacks=2_000, aux_cols=others, secret=secret),
}
risks = {}
for name, attack in attacks.items():
    (attack.evaluate(mode="multivariate") if name == "singling_out" else attack.evaluate(n_jobs=1))
    risk = attack.risk()
    risks[name] = [risk.value, *risk.ci]
print(json.dumps(risks))
