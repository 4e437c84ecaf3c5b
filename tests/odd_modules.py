"""Modules that nobody would write, of the framework's states, transitions, conditions and distributions in unusual company."""

# fmt: off

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Node = dict[str, Any]


def go(state: str) -> Node:
    return {"direct_transition": state}


def coded(system: str, code: str) -> list[Node]:
    return [{"system": system, "code": code, "display": "x"}]


def snomed(code: str) -> list[Node]:
    return coded("SNOMED-CT", code)


def between(low: float, high: float, unit: str) -> Node:
    return {"range": {"low": low, "high": high, "unit": unit}}


def drawn(kind: str, **parameters: Any) -> Node:
    rounded = {"round": parameters.pop("round")} if "round" in parameters else {}
    return {"distribution": {"kind": kind, "parameters": parameters, **rounded}}


def attribute(name: str, operator: str, value: Any = None) -> Node:
    given = {} if value is None else {"value": value}
    return {"condition_type": "Attribute", "attribute": name, "operator": operator, **given}


def simple(**way: Any) -> Node:
    return {"type": "Simple", **way}


MODULES: dict[str, Node] = {}
# 1 nested At Least / At Most / Not / And / Or, ages in odd units, in a complex transition with attribute-named distributions
MODULES["odd_logic"]={"gmf_version": 1, "states": {
 "Initial": {"type": "Initial", **go("Risk")},
 "Risk": {"type": "SetAttribute", "attribute": "odd_p", "range": {"low": 0.1, "high": 0.6}, **go("Wait")},
 "Wait": {"type": "Delay", **between(1, 40, "years"), **go("Ways")},
 "Ways": simple(complex_transition=[
   {"condition": {"condition_type": "At Least", "minimum": 2, "conditions": [
      {"condition_type": "Gender", "gender": "F"},
      {"condition_type": "At Most", "maximum": 1, "conditions": [
         {"condition_type": "Age", "operator": ">=", "quantity": 240, "unit": "months"},
         {"condition_type": "Not", "condition": {"condition_type": "Race", "race": "WHITE"}},
         {"condition_type": "Or", "conditions": [{"condition_type": "False"}, attribute("smoker", "==", True)]}]},
      {"condition_type": "And", "conditions": [{"condition_type": "True"}, {"condition_type": "Date", "operator": ">=", "year": 1970}]}]},
    "distributions": [{"distribution": {"attribute": "odd_p", "default": 0.5}, "transition": "A"}, {"distribution": {"attribute": "odd_missing", "default": 0.25}, "transition": "B"}, {"distribution": 0.05, "transition": "C"}]},
   {"condition": {"condition_type": "Socioeconomic Status", "category": "Low"}, "transition": "B"},
   {"distributions": [{"distribution": 0.3, "transition": "A"}, {"distribution": 0.2, "transition": "C"}]}]),
 "A": {"type": "Counter", "attribute": "odd_n", "action": "increment", "amount": 0, **go("Again")},
 "B": {"type": "Counter", "attribute": "odd_n", "action": "decrement", "amount": 3, **go("Again")},
 "C": {"type": "SetAttribute", "attribute": "odd_n", **go("Again")},
 "Again": simple(conditional_transition=[{"condition": attribute("odd_n", "is nil"), "transition": "Nil"}, {"condition": attribute("odd_n", "<", -2), "transition": "Down"}, {"condition": attribute("odd_n", ">=", 3), "transition": "Up"}, {"transition": "Wait"}]),
 "Nil": {"type": "Terminal"}, "Down": {"type": "Terminal"}, "Up": {"type": "Terminal"}}}
# 2 prior states within and since, loops
MODULES["odd_prior"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Age")},
 "Age": {"type": "Guard", "allow": {"condition_type": "Age", "operator": ">", "quantity": 9, "unit": "years"}, **go("Loop")},
 "Loop": {"type": "Delay", "unit": "months", **drawn("GAUSSIAN", mean=14, standardDeviation=9, min=-3), **go("Pick")},
 "Pick": simple(distributed_transition=[{"distribution": 0.35, "transition": "Red"}, {"distribution": 0.4, "transition": "Blue"}, {"distribution": 0.2, "transition": "Reset"}]),
 "Red": simple(**go("Judge")), "Blue": simple(**go("Judge")), "Reset": simple(**go("Judge")),
 "Judge": simple(conditional_transition=[
   {"condition": {"condition_type": "And", "conditions": [{"condition_type": "PriorState", "name": "Red", "since": "Reset"}, {"condition_type": "PriorState", "name": "Blue", "within": {"quantity": 2, "unit": "years"}, "since": "Reset"}, {"condition_type": "PriorState", "name": "Age"}]}, "transition": "Both"},
   {"condition": {"condition_type": "PriorState", "name": "Both", "within": {"quantity": 500, "unit": "days"}}, "transition": "Recent"},
   {"condition": {"condition_type": "Age", "operator": ">=", "quantity": 60, "unit": "years"}, "transition": "Old"},
   {"transition": "Loop"}]),
 "Both": simple(**go("Loop")), "Recent": simple(distributed_transition=[{"distribution": 0.5, "transition": "Loop"}, {"distribution": 0.5, "transition": "Old"}]),
 "Old": {"type": "Terminal"}}}
# 3 lookup tables with ages and time, attribute keys, mixed case headers
MODULES["odd_lookup"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Wait")},
 "Wait": {"type": "Delay", "unit": "years", **drawn("TRIANGULAR", min=2, mode=20, max=70), **go("Grade")},
 "Grade": {"type": "SetAttribute", "attribute": "odd_grade", "value": "b", "distributed_transition": [{"distribution": 0.5, "transition": "Look"}, {"distribution": 0.5, "transition": "Grade c"}]},
 "Grade c": {"type": "SetAttribute", "attribute": "odd_grade", "value": "c", **go("Look")},
 "Look": simple(lookup_table_transition=[{"transition": "X", "default_probability": 0.2, "lookup_table_name": "odd.csv"}, {"transition": "Y", "default_probability": 0.5, "lookup_table_name": "odd.csv"}, {"transition": "Z", "default_probability": 0.3, "lookup_table_name": "odd.csv"}]),
 "X": simple(lookup_table_transition=[{"transition": "T1", "default_probability": 0.9, "lookup_table_name": "oddtime.csv"}, {"transition": "T2", "default_probability": 0.1, "lookup_table_name": "oddtime.csv"}]),
 "Y": {"type": "Delay", **between(0, 3, "years"), **go("Look")},
 "Z": {"type": "Terminal"}, "T1": {"type": "Terminal"}, "T2": {"type": "Terminal"}}}
# 4 submodules: nested, with attributes, encounter passed in and out, waiting within
MODULES["odd_caller"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Wait")},
 "Wait": {"type": "Delay", "unit": "years", **drawn("UNIFORM", low=10, high=50), **go("Ill")},
 "Ill": {"type": "ConditionOnset", "codes": snomed("111"), "assign_to_attribute": "odd_illness", **go("Call")},
 "Call": {"type": "CallSubmodule", "submodule": "odd/outer", **go("Back")},
 "Back": simple(conditional_transition=[{"condition": {"condition_type": "Active Condition", "referenced_by_attribute": "odd_illness"}, "transition": "Known"}, {"transition": "Unknown"}]),
 "Known": simple(conditional_transition=[{"condition": {"condition_type": "Active Medication", "codes": coded("RxNorm", "314076")}, "transition": "Treated"}, {"transition": "Untreated"}]),
 "Treated": {"type": "MedicationEnd", "referenced_by_attribute": "odd_drug", **go("Ends")},
 "Untreated": simple(**go("Ends")),
 "Ends": {"type": "ConditionEnd", "condition_onset": "Ill", **go("Prior")},
 "Prior": simple(conditional_transition=[{"condition": {"condition_type": "PriorState", "name": "Inner drug"}, "transition": "Had drug"}, {"transition": "Call again"}]),
 "Had drug": {"type": "Terminal"},
 "Call again": {"type": "Delay", **between(100, 900, "days"), **go("Call")},
 "Unknown": {"type": "Terminal"}}}
MODULES["odd/outer"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Sees doctor")},
 "Sees doctor": {"type": "Encounter", "encounter_class": "ambulatory", "codes": snomed("185345009"), "reason": "odd_illness", **go("Inner")},
 "Inner": {"type": "CallSubmodule", "submodule": "odd/inner", **go("Leaves")},
 "Leaves": {"type": "EncounterEnd", **go("Pause")},
 "Pause": {"type": "Delay", "exact": {"quantity": 3, "unit": "weeks"}, **go("End")},
 "End": {"type": "Terminal"}}}
MODULES["odd/inner"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", "distributed_transition": [{"distribution": 0.4, "transition": "Inner drug"}, {"distribution": 0.6, "transition": "End"}]},
 "Inner drug": {"type": "MedicationOrder", "codes": coded("RxNorm", "314076"), "reason": "odd_illness", "assign_to_attribute": "odd_drug", "chronic": True, **go("End")},
 "End": {"type": "Terminal"}}}
# 5 wellness visits, target encounter that is a wellness visit, allergy
MODULES["odd_wellness"]={"gmf_version": 1, "states": {
 "Initial": {"type": "Initial", **go("Silent")},
 "Silent": {"type": "Delay", **between(5, 30, "years"), **go("Sick")},
 "Sick": {"type": "AllergyOnset", "allergy_type": "allergy", "category": "food", "codes": snomed("91935009"), "target_encounter": "Check", **go("Early")},
 "Early": simple(conditional_transition=[{"condition": {"condition_type": "Active Allergy", "codes": snomed("91935009")}, "transition": "Bad"}, {"transition": "Check"}]),
 "Check": {"type": "Encounter", "wellness": True, **go("After")},
 "After": simple(conditional_transition=[{"condition": {"condition_type": "Active Allergy", "codes": [{"system": "SNOMED-CT", "code": "0", "display": "n"}, *snomed("91935009")]}, "transition": "Plan"}, {"transition": "Bad"}]),
 "Plan": {"type": "CarePlanStart", "codes": snomed("734163000"), "assign_to_attribute": "odd_plan", **go("Second")},
 "Second": {"type": "Encounter", "wellness": True, **go("Has plan")},
 "Has plan": simple(conditional_transition=[{"condition": {"condition_type": "Active CarePlan", "referenced_by_attribute": "odd_plan"}, "transition": "End plan"}, {"transition": "Bad"}]),
 "End plan": {"type": "CarePlanEnd", "careplan": "Plan", **go("No plan")},
 "No plan": simple(conditional_transition=[{"condition": {"condition_type": "Active CarePlan", "codes": snomed("734163000")}, "transition": "Bad"}, {"transition": "Heals"}]),
 "Heals": {"type": "AllergyEnd", "allergy_onset": "Sick", **go("Healed")},
 "Healed": simple(conditional_transition=[{"condition": {"condition_type": "Active Allergy", "codes": snomed("91935009")}, "transition": "Bad"}, {"transition": "Silent"}]),
 "Bad": {"type": "Terminal"}}}
# 6 findings: observations by every way and what is read of them
MODULES["odd_findings"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Wait")},
 "Wait": {"type": "Delay", "unit": "weeks", **drawn("EXPONENTIAL", mean=600), **go("Nothing")},
 "Nothing": simple(conditional_transition=[{"condition": {"condition_type": "Observation", "codes": coded("LOINC", "1-1"), "operator": "is not nil"}, "transition": "Bad"}, {"transition": "Sets vital"}]),
 "Sets vital": {"type": "VitalSign", "vital_sign": "Left ventricular Ejection fraction", "unit": "%", **drawn("GAUSSIAN", mean=55, standardDeviation=10, min=20, max=80, round=True), **go("Observe")},
 "Observe": {"type": "Observation", "codes": coded("LOINC", "1-1"), "category": "laboratory", "unit": "%", "vital_sign": "Left ventricular Ejection fraction", **go("Attribute")},
 "Attribute": {"type": "SetAttribute", "attribute": "odd_value", **drawn("UNIFORM", low=0, high=10, round=True), **go("Observe attribute")},
 "Observe attribute": {"type": "Observation", "codes": coded("LOINC", "1-2"), "category": "laboratory", "unit": "1", "attribute": "odd_value", **go("Report")},
 "Report": {"type": "DiagnosticReport", "codes": coded("LOINC", "2-2"), "number_of_observations": 7, "observations": [
     {"codes": coded("LOINC", "1-3"), "category": "laboratory", "unit": "mg/dL", **between(1, 3, "mg/dL")},
     {"codes": coded("LOINC", "1-4"), "category": "laboratory", "value_code": {"system": "SNOMED-CT", "code": "10828004", "display": "Positive"}}], **go("Symptoms")},
 "Symptoms": {"type": "Symptom", "symptom": "Odd pain", "cause": "one", "probability": 0.7, **between(10, 60, "x"), **go("More symptoms")},
 "More symptoms": {"type": "Symptom", "symptom": "Odd pain", "cause": "two", "exact": {"quantity": 30}, **go("Judge")},
 "Judge": simple(conditional_transition=[
   {"condition": {"condition_type": "And", "conditions": [{"condition_type": "Observation", "codes": coded("LOINC", "1-1"), "operator": "<", "value": 50}, {"condition_type": "Symptom", "symptom": "Odd pain", "operator": ">", "value": 40}]}, "transition": "Weak and pained"},
   {"condition": {"condition_type": "Observation", "codes": coded("LOINC", "1-2"), "operator": ">=", "value": 8}, "transition": "High"},
   {"condition": {"condition_type": "Observation", "codes": coded("LOINC", "1-3"), "operator": ">", "value": 2.5}, "transition": "Third"},
   {"condition": {"condition_type": "Vital Sign", "vital_sign": "Left ventricular Ejection fraction", "operator": "<=", "value": 45}, "transition": "Redrawn low"},
   {"transition": "Relief"}]),
 "Relief": {"type": "Symptom", "symptom": "Odd pain", "cause": "two", "exact": {"quantity": 0}, **go("Felt")},
 "Felt": simple(conditional_transition=[{"condition": {"condition_type": "Symptom", "symptom": "Odd pain", "operator": "==", "value": 0}, "transition": "Well"}, {"transition": "Still"}]),
 "Weak and pained": {"type": "Terminal"}, "High": {"type": "Terminal"}, "Third": {"type": "Terminal"}, "Redrawn low": {"type": "Terminal"}, "Well": {"type": "Terminal"}, "Still": {"type": "Terminal"}, "Bad": {"type": "Terminal"}}}
# 7 procedure as delay, device, imaging, supply, vaccine, physiology alternative, death by range
MODULES["odd_care"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Grown")},
 "Grown": {"type": "Guard", "allow": {"condition_type": "Or", "conditions": [{"condition_type": "Age", "operator": ">=", "quantity": 3, "unit": "decades"}, {"condition_type": "And", "conditions": [attribute("diabetes", "is not nil"), {"condition_type": "Age", "operator": ">=", "quantity": 1000, "unit": "weeks"}]}]}, **go("Model")},
 "Model": {"type": "Physiology", "model": "circulation/Smith2004_CVS_human.xml", "solver": "runge_kutta", "step_size": 0.01, "sim_duration": 4, "lead_time": 2, "inputs": [], "outputs": [], "direct_transition": "Bad", "alt_direct_transition": "In"},
 "In": {"type": "Encounter", "encounter_class": "inpatient", "codes": snomed("185347001"), **go("Operation")},
 "Operation": {"type": "Procedure", "codes": snomed("80146002"), "unit": "days", **drawn("TRIANGULAR", min=1, mode=2, max=9), **go("Implant")},
 "Implant": {"type": "Device", "code": coded("SNOMED-CT", "72506001")[0], "manufacturer": "Nobody", "model": "M1", "assign_to_attribute": "odd_device", **go("Scan")},
 "Scan": {"type": "ImagingStudy", "procedure_code": coded("SNOMED-CT", "168731009")[0], "series": [{"body_site": coded("SNOMED-CT", "51185008")[0], "modality": {"system": "DICOM-DCM", "code": "DX", "display": "Digital Radiography"}, "instances": [{"title": "t", "sop_class": {"system": "DICOM-SOP", "code": "1.2.840.10008.5.1.4.1.1.1.1", "display": "s"}}]}], "min_number_series": 1, "max_number_series": 3, **go("Supplies")},
 "Supplies": {"type": "SupplyList", "supplies": [{"code": coded("SNOMED-CT", "337388004")[0], "quantity": 2}], **go("Shot")},
 "Shot": {"type": "Vaccine", "codes": coded("CVX", "140"), "series": 1, **go("Out")},
 "Out": {"type": "EncounterEnd", "discharge_disposition": {"system": "NUBC", "code": "01", "display": "home"}, **go("Years")},
 "Years": {"type": "Delay", **between(1, 20, "years"), **go("Taken out")},
 "Taken out": {"type": "DeviceEnd", "device": "Implant", **go("Fate")},
 "Fate": simple(distributed_transition=[{"distribution": 0.3, "transition": "Dies"}, {"distribution": 0.3, "transition": "Dies later"}]),
 "Dies": {"type": "Death", "codes": snomed("22298006"), **go("Never")},
 "Dies later": {"type": "Death", **between(6, 30, "months"), "codes": snomed("22298006"), **go("Meanwhile")},
 "Meanwhile": {"type": "Delay", **between(1, 60, "months"), **go("Outlives")},
 "Outlives": {"type": "Terminal"}, "Never": {"type": "Terminal"}, "Bad": {"type": "Terminal"}}}
# 8 and 9: two modules that wait for one another through attributes
MODULES["odd_ping"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Wait")},
 "Wait": {"type": "Delay", **between(0, 30, "years"), **go("Ping")},
 "Ping": {"type": "SetAttribute", "attribute": "odd_ball", "value": "ping", **go("Listen")},
 "Listen": {"type": "Guard", "allow": {"condition_type": "Or", "conditions": [attribute("odd_ball", "==", "pong"), {"condition_type": "Age", "operator": ">=", "quantity": 50, "unit": "years"}]}, **go("Got")},
 "Got": {"type": "Counter", "attribute": "odd_rallies", "action": "increment", **go("Enough")},
 "Enough": simple(conditional_transition=[{"condition": attribute("odd_rallies", ">=", 4), "transition": "Four"}, {"condition": {"condition_type": "Age", "operator": ">=", "quantity": 50, "unit": "years"}, "transition": "Late"}, {"transition": "Wait short"}]),
 "Wait short": {"type": "Delay", **between(10, 1000, "days"), **go("Ping")},
 "Four": {"type": "Terminal"}, "Late": {"type": "Terminal"}}}
MODULES["odd_pong"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Listen")},
 "Listen": {"type": "Guard", "allow": attribute("odd_ball", "==", "ping"), **go("Think")},
 "Think": {"type": "Delay", **between(1, 400, "days"), **go("Pong")},
 "Pong": {"type": "SetAttribute", "attribute": "odd_ball", "value": "pong", **go("Listen")}}}
# 10 dates: from a moment on, in months, and value_code / value_attribute
MODULES["odd_dates"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("After")},
 "After": {"type": "Guard", "allow": {"condition_type": "Date", "operator": ">", "date": {"year": 1993, "month": 5, "day": 17, "hour": 3, "minute": 0, "second": 0, "millisecond": 0}}, **go("Summer")},
 "Summer": {"type": "Guard", "allow": {"condition_type": "And", "conditions": [{"condition_type": "Date", "operator": ">=", "month": 7}, {"condition_type": "Not", "condition": {"condition_type": "Date", "operator": ">", "month": 8}}]}, **go("Code")},
 "Code": {"type": "SetAttribute", "attribute": "odd_code", "value_code": coded("SNOMED-CT", "73211009")[0], **go("Copy")},
 "Copy": {"type": "SetAttribute", "attribute": "odd_copy", "value_attribute": "odd_code", **go("Unset")},
 "Unset": {"type": "SetAttribute", "attribute": "odd_code", **go("Test")},
 "Test": simple(conditional_transition=[{"condition": {"condition_type": "And", "conditions": [attribute("odd_code", "is nil"), attribute("odd_copy", "is not nil")]}, "transition": "Copied"}, {"transition": "Bad"}]),
 "Copied": {"type": "Delay", "unit": "hours", **drawn("UNIFORM", low=2000, high=90000), **go("Winter")},
 "Winter": {"type": "Guard", "allow": {"condition_type": "Date", "operator": "==", "month": 12}, **go("Season")},
 "Season": simple(conditional_transition=[{"condition": {"condition_type": "Date", "operator": ">=", "year": 2010}, "transition": "Late"}, {"transition": "Copied"}]),
 "Late": {"type": "Terminal"}, "Bad": {"type": "Terminal"}}}
# 11 series of numbers: set before anything but an expression and a range, shown as sampled data, drawn, and nothing where they are unset
SERIES = {"type": "SetAttribute", "attribute": "odd_series", "series_data": " 1 -2.5 3e2  4", "period": 0.5}
MODULES["odd_series"]={"gmf_version": 2, "states": {
 "Initial": {"type": "Initial", **go("Wait")},
 "Wait": {"type": "Delay", **between(1, 30, "years"), "distributed_transition": [{"distribution": 0.4, "transition": "Shown"}, {"distribution": 0.4, "transition": "Set"}, {"distribution": 0.2, "transition": "Ranged"}]},
 "Set": {**SERIES, "value": 7, **drawn("EXACT", value=9), **go("Both")},
 "Both": {"type": "SetAttribute", "attribute": "odd_other", "series_data": "0 0 0 1", "period": 0.5, **go("Shown")},
 "Ranged": {**SERIES, "range": {"low": 5, "high": 6}, **go("Shown")},
 "Shown": {"type": "Observation", "category": "procedure", "unit": "mV", "codes": coded("LOINC", "11-1"), "target_encounter": "none", "sampled_data": {"attributes": ["odd_series", "odd_other"], "decimal_format": "#,##0.0#"}, **go("Drawn")},
 "Drawn": {"type": "MultiObservation", "category": "imaging", "codes": coded("LOINC", "11-2"), "observations": [{"category": "imaging", "codes": coded("LOINC", "11-3"), "attachment": {"title": "x", "chart": {"type": "scatter", "axis_attribute_x": "odd_other", "axis_hidden_y": True, "series": [{"attribute": "odd_series"}]}}}], **go("Ask")},
 "Ask": simple(conditional_transition=[
   {"condition": {"condition_type": "And", "conditions": [{"condition_type": "Observation", "codes": coded("LOINC", "11-1"), "operator": "is not nil"}, attribute("odd_series", "is not nil"), {"condition_type": "Not", "condition": attribute("odd_series", ">", 0)}]}, "transition": "Series"},
   {"condition": attribute("odd_series", ">=", 5), "transition": "Number"},
   {"condition": attribute("odd_series", "is nil"), "transition": "Nothing"},
   {"transition": "Bad"}]),
 "Series": {"type": "SetAttribute", "attribute": "odd_copy_of_series", "value_attribute": "odd_series", **go("Copied")},
 "Copied": simple(conditional_transition=[{"condition": attribute("odd_copy_of_series", "is not nil"), "transition": "End"}, {"transition": "Bad"}]),
 "Number": {"type": "Terminal"}, "Nothing": {"type": "Terminal"}, "End": {"type": "Terminal"}, "Bad": {"type": "Terminal"}}}

VISIT = {"type": "Encounter", "encounter_class": "ambulatory", "codes": snomed("185345009")}
LEAVES = {"type": "EncounterEnd"}
# a panel of two values, and conditions that read its parts
MODULES["odd_multi"]={"gmf_version":2,"states":{"Initial":{"type":"Initial",**go("W")},"W":{"type":"Delay","unit":"years",**drawn("GAUSSIAN",mean=30,standardDeviation=10,min=1,max=70),**go("E")},
 "E":{**VISIT,**go("BP")},"BP":{"type":"MultiObservation","category":"vital-signs","codes":coded("LOINC","85354-9"),"number_of_observations":2,"observations":[{"category":"vital-signs","codes":coded("LOINC","8-1"),"unit":"mm[Hg]",**between(90,180,"x")},{"category":"vital-signs","codes":coded("LOINC","8-2"),"unit":"mm[Hg]","exact":{"quantity":77}}],**go("J")},
 "J":simple(conditional_transition=[{"condition":{"condition_type":"At Most","maximum":1,"conditions":[{"condition_type":"Observation","codes":coded("LOINC","8-1"),"operator":">","value":140},{"condition_type":"Observation","codes":coded("LOINC","8-2"),"operator":"==","value":77}]},"transition":"Low"},{"condition":{"condition_type":"Observation","codes":coded("LOINC","8-1"),"operator":">","value":170},"transition":"Very"},{"transition":"High"}]),
 "Low":{**LEAVES,**go("Z")},"High":{**LEAVES,**go("W")},"Very":{**LEAVES,**go("Z")},"Z":{"type":"Terminal"}}}
# what ends by its code, begun again and again
MODULES["odd_ends"]={"gmf_version":2,"states":{"Initial":{"type":"Initial",**go("W")},"W":{"type":"Delay",**between(3,300,"months"),**go("E")},"E":{**VISIT,**go("C")},
 "C":{"type":"ConditionOnset","codes":snomed("222"),"assign_to_attribute":"odd_c",**go("M")},"M":{"type":"MedicationOrder","codes":coded("RxNorm","314076"),"reason":"odd_c","administration":True,"prescription":{"as_needed":True},**go("P")},
 "P":{"type":"CarePlanStart","codes":snomed("333"),"reason":"C","activities":snomed("334"),**go("X")},"X":{**LEAVES,**go("D")},"D":{"type":"Delay","unit":"days",**drawn("UNIFORM",low=1,high=900),**go("E2")},
 "E2":{**VISIT,**go("ME")},"ME":{"type":"MedicationEnd","codes":coded("RxNorm","314076"),**go("PE")},"PE":{"type":"CarePlanEnd","codes":snomed("333"),**go("CE")},"CE":{"type":"ConditionEnd","codes":snomed("222"),**go("X2")},
 "X2":{**LEAVES,"conditional_transition":[{"condition":{"condition_type":"Or","conditions":[{"condition_type":"Active Condition","codes":snomed("222")},{"condition_type":"Active Medication","codes":coded("RxNorm","314076")},{"condition_type":"Active CarePlan","codes":snomed("333")}]},"transition":"Bad"},{"condition":{"condition_type":"Active Condition","referenced_by_attribute":"odd_c"},"transition":"Bad"},{"transition":"W"}]},"Bad":{"type":"Terminal"}}}
# a diagnosis that waits for its encounter, a procedure of drawn length
MODULES["odd_target"]={"gmf_version":2,"states":{"Initial":{"type":"Initial",**go("W")},"W":{"type":"Delay",**between(8,40,"years"),**go("C")},"C":{"type":"ConditionOnset","codes":snomed("1212"),"target_encounter":"E",**go("P")},
 "P":{"type":"Delay",**between(10,500,"days"),**go("J")},"J":simple(conditional_transition=[{"condition":{"condition_type":"Active Condition","codes":snomed("1212")},"transition":"Bad"},{"transition":"E"}]),
 "E":{**VISIT,"reason":"C",**go("J2")},"J2":simple(conditional_transition=[{"condition":{"condition_type":"Active Condition","codes":snomed("1212")},"transition":"Pr"},{"transition":"Bad"}]),
 "Pr":{"type":"Procedure","codes":snomed("1313"),"reason":"C","distribution":{"kind":"GAUSSIAN","parameters":{"mean":60,"standardDeviation":20,"min":5}},"unit":"minutes",**go("X")},"X":{**LEAVES,**go("Z")},"Z":{"type":"Terminal"},"Bad":{"type":"Terminal"}}}
# a vital sign once set, a transition beside distributions
MODULES["odd_who"]={"gmf_version":2,"states":{"Initial":{"type":"Initial",**go("V")},"V":{"type":"VitalSign","vital_sign":"Potassium","unit":"mmol/L",**between(3,6,"x"),**go("D")},"D":{"type":"Delay",**between(1,50,"years"),**go("J")},
 "J":simple(complex_transition=[{"condition":{"condition_type":"At Least","minimum":3,"conditions":[{"condition_type":"Socioeconomic Status","category":"High"},{"condition_type":"Race","race":"White"},{"condition_type":"Vital Sign","vital_sign":"Potassium","operator":">","value":4.2},{"condition_type":"Gender","gender":"M"}]},"transition":"A"},
  {"condition":{"condition_type":"Vital Sign","vital_sign":"Potassium","operator":"<=","value":3.5},"distributions":[{"distribution":.7,"transition":"B"},{"distribution":.3,"transition":"D"}]},{"distributions":[{"distribution":.5,"transition":"C"},{"distribution":.5,"transition":"D"}]}]),
 "A":{"type":"Terminal"},"B":{"type":"Terminal"},"C":{"type":"Terminal"}}}

TABLES = {
    "odd.csv": "\ufeffAge,GENDER,odd_grade,Y,X,Z\n0-17,M,b,0.7,0.1,0.2\n0-17,F,b,0.1,0.8,0.1\n18-44,M,c,0.25,0.25,0.5\n18-130,F,c,0,1,0\n30-60,M,b,0.5,0.5,0\n",
    "oddtime.csv": "time,T2,T1\n0-631152000000,1,0\n631152000001-1262304000000,0.5,0.5\n",
}


def write(folder: Path) -> Path:
    """Put them down in Synthea's layout."""
    for path, module in MODULES.items():
        file = folder / "modules" / f"{path}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"name": path, **module}, indent=1), "utf-8")
    (folder / "lookup_tables").mkdir()
    for name, text in TABLES.items():
        (folder / "lookup_tables" / name).write_text(text, "utf-8")
    return folder
