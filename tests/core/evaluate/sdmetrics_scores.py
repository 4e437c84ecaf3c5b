"""Run by an interpreter that has SDMetrics: its scores of the tables in a folder, as JSON. Arguments: folder, numbers, categories, each joined by commas."""

import json
import sys
from pathlib import Path

import pandas as pd
from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
from sdmetrics.multi_table import CardinalityShapeSimilarity
from sdmetrics.single_column import KSComplement, TVComplement

folder, numbers, categories = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3].split(",")
real, synth = (pd.read_csv(folder / f"{n}.csv", dtype=dict.fromkeys(categories, str)) for n in ("real", "synth"))
found = {c: KSComplement.compute(real[c], synth[c]) for c in numbers}
found |= {c: TVComplement.compute(real[c].dropna(), synth[c].dropna()) for c in categories}
found["correlation"] = CorrelationSimilarity.compute(real[numbers[:2]], synth[numbers[:2]])
both = [t[categories[:2]].fillna("?") for t in (real, synth)]
found["contingency"] = ContingencySimilarity.compute(*both)

tables = [{n: pd.read_csv(folder / f"{side}-{n}.csv") for n in ("customers", "orders")} for side in ("real", "synth")]
metadata = {
    "tables": {
        "customers": {
            "primary_key": "id",
            "columns": {"id": {"sdtype": "id"}, "segment": {"sdtype": "categorical"}, "age": {"sdtype": "numerical"}},
        },
        "orders": {
            "primary_key": "order_id",
            "columns": {
                "order_id": {"sdtype": "id"},
                "customer_id": {"sdtype": "id"},
                "amount": {"sdtype": "numerical"},
                "paid": {"sdtype": "categorical"},
            },
        },
    },
    "relationships": [
        {
            "parent_table_name": "customers",
            "child_table_name": "orders",
            "parent_primary_key": "id",
            "child_foreign_key": "customer_id",
        }
    ],
}
found["cardinality"] = CardinalityShapeSimilarity.compute(*tables, metadata)
# the report of 0.32 cuts each side's numbers at edges of its own, so the metrics are asked themselves
joined = [t["orders"].merge(t["customers"], left_on="customer_id", right_on="id") for t in tables]
found["cross_table"] = {"amount × age": CorrelationSimilarity.compute(*(t[["amount", "age"]] for t in joined))}
for child, parent, numbers in (("amount", "segment", ["amount"]), ("paid", "age", ["age"]), ("paid", "segment", None)):
    both = [t[[child, parent]].copy() for t in joined]
    found["cross_table"][f"{child} × {parent}"] = ContingencySimilarity.compute(*both, continuous_column_names=numbers)
print(json.dumps(found))
