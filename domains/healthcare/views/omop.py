"""OMOP Common Data Model 5.4. Standard concepts stand where the list `omop_concept` has one; elsewhere the concept is 0 and the source code
says what is meant, as the model asks of codes that are not mapped."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from ....core.schema import Schema
from ....core.tables import Table, Tables, only, texts
from ..deaths import CAUSE
from .csvs import MOMENT, Layout, file, first_block
from .spelling import decimals, spelled, told_apart

EHR = 32817
"""Type concept: EHR."""
GENDER = {"male": 8507, "female": 8532}
RACE = {"2106-3": 8527, "2054-5": 8516, "2028-9": 8515}
HISPANIC, NOT_HISPANIC = 38003563, 38003564
VISIT = {"IMP": 9201, "AMB": 9202, "EMER": 9203, "HH": 581476}

LAYOUT: Layout = {
    "person": file(
        "person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth,birth_datetime,race_concept_id,ethnicity_concept_id,"
        "location_id,provider_id,care_site_id,person_source_value,gender_source_value,gender_source_concept_id,race_source_value,"
        "race_source_concept_id,ethnicity_source_value,ethnicity_source_concept_id",
        "person_id", location_id="location", provider_id="provider", care_site_id="care_site",
    ),
    "observation_period": file(
        "observation_period_id,person_id,observation_period_start_date,observation_period_end_date,period_type_concept_id",
        "observation_period_id", person_id="person",
    ),
    "visit_occurrence": file(
        "visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_start_datetime,visit_end_date,visit_end_datetime,"
        "visit_type_concept_id,provider_id,care_site_id,visit_source_value,visit_source_concept_id,admitted_from_concept_id,"
        "admitted_from_source_value,discharged_to_concept_id,discharged_to_source_value,preceding_visit_occurrence_id",
        "visit_occurrence_id", person_id="person", provider_id="provider", care_site_id="care_site",
        preceding_visit_occurrence_id="visit_occurrence",
    ),
    "condition_occurrence": file(
        "condition_occurrence_id,person_id,condition_concept_id,condition_start_date,condition_start_datetime,condition_end_date,"
        "condition_end_datetime,condition_type_concept_id,condition_status_concept_id,stop_reason,provider_id,visit_occurrence_id,"
        "visit_detail_id,condition_source_value,condition_source_concept_id,condition_status_source_value",
        "condition_occurrence_id", person_id="person", visit_occurrence_id="visit_occurrence",
    ),
    "drug_exposure": file(
        "drug_exposure_id,person_id,drug_concept_id,drug_exposure_start_date,drug_exposure_start_datetime,drug_exposure_end_date,"
        "drug_exposure_end_datetime,verbatim_end_date,drug_type_concept_id,stop_reason,refills,quantity,days_supply,sig,"
        "route_concept_id,lot_number,provider_id,visit_occurrence_id,visit_detail_id,drug_source_value,drug_source_concept_id,"
        "route_source_value,dose_unit_source_value",
        "drug_exposure_id", person_id="person", visit_occurrence_id="visit_occurrence",
    ),
    "measurement": file(
        "measurement_id,person_id,measurement_concept_id,measurement_date,measurement_datetime,measurement_time,"
        "measurement_type_concept_id,operator_concept_id,value_as_number,value_as_concept_id,unit_concept_id,range_low,range_high,"
        "provider_id,visit_occurrence_id,visit_detail_id,measurement_source_value,measurement_source_concept_id,unit_source_value,"
        "unit_source_concept_id,value_source_value,measurement_event_id,meas_event_field_concept_id",
        "measurement_id", person_id="person", visit_occurrence_id="visit_occurrence",
    ),
    "procedure_occurrence": file(
        "procedure_occurrence_id,person_id,procedure_concept_id,procedure_date,procedure_datetime,procedure_end_date,"
        "procedure_end_datetime,procedure_type_concept_id,modifier_concept_id,quantity,provider_id,visit_occurrence_id,"
        "visit_detail_id,procedure_source_value,procedure_source_concept_id,modifier_source_value",
        "procedure_occurrence_id", person_id="person", visit_occurrence_id="visit_occurrence",
    ),
    "device_exposure": file(
        "device_exposure_id,person_id,device_concept_id,device_exposure_start_date,device_exposure_start_datetime,"
        "device_exposure_end_date,device_exposure_end_datetime,device_type_concept_id,unique_device_id,production_id,quantity,"
        "provider_id,visit_occurrence_id,visit_detail_id,device_source_value,device_source_concept_id,unit_concept_id,"
        "unit_source_value,unit_source_concept_id",
        "device_exposure_id", person_id="person", visit_occurrence_id="visit_occurrence",
    ),
    "observation": file(
        "observation_id,person_id,observation_concept_id,observation_date,observation_datetime,observation_type_concept_id,"
        "value_as_number,value_as_string,value_as_concept_id,qualifier_concept_id,unit_concept_id,provider_id,visit_occurrence_id,"
        "visit_detail_id,observation_source_value,observation_source_concept_id,unit_source_value,qualifier_source_value,"
        "value_source_value,observation_event_id,obs_event_field_concept_id",
        "observation_id", person_id="person", visit_occurrence_id="visit_occurrence",
    ),
    "death": file(
        "person_id,death_date,death_datetime,death_type_concept_id,cause_concept_id,cause_source_value,cause_source_concept_id",
        "person_id", person_id="person",
    ),
    "payer_plan_period": file(
        "payer_plan_period_id,person_id,payer_plan_period_start_date,payer_plan_period_end_date,payer_concept_id,payer_source_value,"
        "payer_source_concept_id,plan_concept_id,plan_source_value,plan_source_concept_id,sponsor_concept_id,sponsor_source_value,"
        "sponsor_source_concept_id,family_source_value,stop_reason_concept_id,stop_reason_source_value,stop_reason_source_concept_id",
        "payer_plan_period_id", person_id="person",
    ),
    "cost": file(
        "cost_id,cost_event_id,cost_domain_id,cost_type_concept_id,currency_concept_id,total_charge,total_cost,total_paid,"
        "paid_by_payer,paid_by_patient,paid_patient_copay,paid_patient_coinsurance,paid_patient_deductible,paid_by_primary,"
        "paid_ingredient_cost,paid_dispensing_fee,payer_plan_period_id,amount_allowed,revenue_code_concept_id,"
        "revenue_code_source_value,drg_concept_id,drg_source_value",
        "cost_id", cost_event_id="visit_occurrence", payer_plan_period_id="payer_plan_period",
    ),
    "location": file(
        "location_id,address_1,address_2,city,state,zip,county,location_source_value,country_concept_id,country_source_value,latitude,"
        "longitude",
        "location_id",
    ),
    "care_site": file(
        "care_site_id,care_site_name,place_of_service_concept_id,location_id,care_site_source_value,place_of_service_source_value",
        "care_site_id", location_id="location",
    ),
    "provider": file(
        "provider_id,provider_name,npi,dea,specialty_concept_id,care_site_id,year_of_birth,gender_concept_id,provider_source_value,"
        "specialty_source_value,specialty_source_concept_id,gender_source_value,gender_source_concept_id",
        "provider_id", care_site_id="care_site",
    ),
}  # fmt: skip


def tables(schema: Schema, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """The tables of one block; locations, care sites and providers come with the first."""
    concepts = {code: int(concept) for code, concept in schema.code_lists["omop_concept"].codes.items()}

    def concept(column: str) -> pl.Expr:
        return pl.col(column).cast(pl.String).replace_strict(concepts, default=0, return_dtype=pl.Int64)

    def coded(column: str, mapped: Mapping[str, int]) -> pl.Expr:
        return pl.col(column).cast(pl.String).replace_strict(dict(mapped), default=0, return_dtype=pl.Int64)

    def times(name: str, column: str) -> list[pl.Expr]:
        at = pl.col(column)
        return [at.dt.date().cast(pl.String).alias(f"{name}_date"), at.dt.strftime(MOMENT).alias(f"{name}_datetime")]

    source = pl.col("code").cast(pl.String)
    ehr = pl.lit(EHR)
    patient, visit = tables["patient"], tables["encounter"]
    # what people tell, and causes of death, is no measurement to the CDM
    seen = _numbers(tables)
    words, which = told_apart(seen["code"])
    kinds = [schema.code_lists["observation_category"].codes.get(code) for code in words]
    told = np.array(
        [code == CAUSE or kind in ("survey", "social-history") for code, kind in zip(words, kinds, strict=True)]
    )[which]
    answered = _answers(only(seen, told), concepts)
    # people live in places of their own, after those of the organizations
    home = pl.col("patient_id") + reference["organization"].height
    # the CDM's state has two letters: what is longer is a county to it
    state = pl.col("state").cast(pl.String)
    short = state.str.len_chars() <= 2
    place = {
        "address_1": pl.col("line"),
        "city": pl.col("city"),
        "state": pl.when(short).then(state),
        "zip": pl.col("postal_code"),
        "county": pl.when(~short).then(state),
        "country_source_value": pl.lit(next(iter(schema.code_lists["country"].codes))),
    }
    made: dict[str, Table] = {
        "person": patient.select(
            provider_id="practitioner_id",
            person_id="patient_id",
            gender_concept_id=coded("sex", GENDER),
            year_of_birth=pl.col("birth_date").dt.year(),
            month_of_birth=pl.col("birth_date").dt.month(),
            day_of_birth=pl.col("birth_date").dt.day(),
            birth_datetime=pl.col("birth_date").cast(pl.Datetime).dt.strftime(MOMENT),
            race_concept_id=coded("race", RACE),
            ethnicity_concept_id=pl.when(pl.col("ethnicity").is_null())
            .then(0)
            .when(pl.col("ethnicity") == "2135-2")
            .then(HISPANIC)
            .otherwise(NOT_HISPANIC),
            location_id=home,
            care_site_id="organization_id",
            person_source_value="mrn",
            gender_source_value=pl.col("sex").cast(pl.String),
            gender_source_concept_id=pl.lit(0),
            race_source_value=pl.col("race").cast(pl.String),
            race_source_concept_id=pl.lit(0),
            ethnicity_source_value=pl.col("ethnicity").cast(pl.String),
            ethnicity_source_concept_id=pl.lit(0),
        ),
        "observation_period": visit.group_by("patient_id", maintain_order=True)
        .agg(start=pl.col("start_at").min().dt.date(), end=pl.col("end_at").max().dt.date())
        .select(
            observation_period_id="patient_id",
            person_id="patient_id",
            observation_period_start_date=pl.col("start").cast(pl.String),
            observation_period_end_date=pl.col("end").cast(pl.String),
            period_type_concept_id=ehr,
        ),
        "visit_occurrence": visit.select(
            *times("visit_start", "start_at"),
            *times("visit_end", "end_at"),
            visit_occurrence_id="encounter_id",
            person_id="patient_id",
            visit_concept_id=coded("class", VISIT),
            visit_type_concept_id=ehr,
            provider_id="practitioner_id",
            care_site_id="organization_id",
            visit_source_value=pl.col("type").cast(pl.String),
            visit_source_concept_id=pl.lit(0),
            admitted_from_concept_id=pl.lit(0),
            discharged_to_concept_id=pl.lit(0),
            discharged_to_source_value=pl.col("disposition").cast(pl.String),
            preceding_visit_occurrence_id=pl.col("encounter_id").shift(1).over("patient_id"),
        ),
        "condition_occurrence": tables["condition"].select(
            *times("condition_start", "onset_at"),
            *times("condition_end", "abatement_at"),
            condition_occurrence_id="condition_id",
            person_id="patient_id",
            condition_concept_id=concept("code"),
            condition_type_concept_id=ehr,
            condition_status_concept_id=pl.lit(0),
            visit_occurrence_id="encounter_id",
            condition_source_value=source,
            condition_source_concept_id=pl.lit(0),
            condition_status_source_value=pl.col("status").cast(pl.String),
        ),
        "drug_exposure": _drugs(tables, concept, source, times),
        "measurement": _measured(only(seen, ~told), concepts, schema.code_lists["observation_unit"].codes),
        "death": _deaths(patient, tables["observation"]).select(
            *times("death", "death_at"),
            person_id="patient_id",
            death_type_concept_id=ehr,
            cause_concept_id=concept("cause"),
            cause_source_value="cause",
        ),
        "payer_plan_period": tables["coverage"].select(
            payer_plan_period_id="coverage_id",
            person_id="patient_id",
            payer_plan_period_start_date=pl.col("start_at").dt.date().cast(pl.String),
            payer_plan_period_end_date=pl.coalesce("end_at", pl.col("start_at").max()).dt.date().cast(pl.String),
            payer_concept_id=pl.lit(0),
            payer_source_value=pl.col("kind").cast(pl.String),
            payer_source_concept_id=pl.lit(0),
        ),
        "cost": tables["claim"].select(
            "paid_by_patient",
            cost_id="claim_id",
            cost_event_id="encounter_id",
            cost_domain_id=pl.lit("Visit"),
            cost_type_concept_id=ehr,
            currency_concept_id=pl.lit(0),
            total_charge="total",
            total_paid="total",
            paid_by_payer="paid_by_insurer",
            payer_plan_period_id="coverage_id",
        ),
        "location": patient.select(location_id=home, **place, location_source_value=pl.lit("patient")),
    }
    made |= _of_modules(schema, tables, times, source)
    made["observation"] = pl.concat(
        [answered, *([made["observation"]] if "observation" in made else [])], how="diagonal_relaxed"
    )
    if first_block(tables):
        sites = tables["organization"]
        made["location"] = pl.concat(
            [
                sites.select(location_id="organization_id", **place, location_source_value=pl.lit("organization")),
                made["location"],
            ]
        )
        made["care_site"] = sites.select(
            care_site_id="organization_id",
            care_site_name="name",
            place_of_service_concept_id=pl.lit(0),
            location_id="organization_id",
            care_site_source_value=pl.col("organization_id").cast(pl.String),
            place_of_service_source_value=pl.col("kind").cast(pl.String),
        )
        made["provider"] = tables["practitioner"].select(
            "npi",
            provider_id="practitioner_id",
            provider_name=pl.concat_str("given_name", pl.lit(" "), "family_name"),
            specialty_concept_id=pl.lit(0),
            care_site_id="organization_id",
            gender_concept_id=coded("sex", GENDER),
            provider_source_value=pl.col("practitioner_id").cast(pl.String),
            specialty_source_value=pl.col("specialty").cast(pl.String),
            gender_source_value=pl.col("sex").cast(pl.String),
        )
    return made


def _of_modules(schema: Schema, tables: Tables, times, source: pl.Expr) -> dict[str, Table]:
    """What disease modules record: procedures, devices and supplies, allergies as observations. None of their codes is mapped."""
    made: dict[str, Table] = {}
    common = {"person_id": pl.col("patient_id"), "visit_occurrence_id": pl.col("encounter_id")}
    if "procedure" in tables:
        made["procedure_occurrence"] = tables["procedure"].select(
            *times("procedure", "at"), *times("procedure_end", "end_at"), procedure_occurrence_id="procedure_id", **common,
            procedure_concept_id=pl.lit(0), procedure_type_concept_id=pl.lit(EHR), procedure_source_value=source,
            procedure_source_concept_id=pl.lit(0),
        )  # fmt: skip
    devices = []
    # odd and even ids keep the two apart
    for odd, name in enumerate(("device", "supply")):
        if name in tables:
            frame = tables[name]
            until = "end_at" if "end_at" in frame.columns else "at"
            many = pl.col("quantity").cast(pl.Int64) if "quantity" in frame.columns else pl.lit(1, pl.Int64)
            devices.append(
                frame.select(
                    *times("device_exposure_start", "at"),
                    *times("device_exposure_end", until),
                    device_exposure_id=pl.col(f"{name}_id") * 2 + odd,
                    **common,
                    device_concept_id=pl.lit(0),
                    device_type_concept_id=pl.lit(EHR),
                    quantity=many,
                    device_source_value=source,
                    device_source_concept_id=pl.lit(0),
                )
            )
    if devices:
        made["device_exposure"] = pl.concat(devices)
    if "allergy" in tables:
        made["observation"] = tables["allergy"].select(
            *times("observation", "at"), observation_id=pl.col("allergy_id") * 2 + 1, **common, observation_concept_id=pl.lit(0),
            observation_type_concept_id=pl.lit(EHR), observation_source_value=source,
            observation_source_concept_id=pl.lit(0), value_source_value=pl.col("category").cast(pl.String),
        )  # fmt: skip
    return made


def _numbers(tables: Tables) -> Table:
    """Observations, of which series and files have been recorded and no more: the CDM has no place for what they hold."""
    rows = tables["observation"]
    for name in ("sampled_data", "attachment"):
        if name in tables:
            held = pl.col("observation_id").is_in(tables[name]["observation_id"].implode())
            rows = rows.with_columns(value_text=pl.when(~held).then("value_text"))
    return rows


def _measured(rows: Table, concepts: Mapping[str, int], units: Mapping[str, str]) -> Table:
    """The table that is most of the CDM. All that is measured at one time stands together, and what is said of a code is said once."""
    words, which = told_apart(rows["code"])
    unit = pl.Series([units.get(code, "") for code in words], dtype=pl.String)
    without = np.array([code not in units for code in words], bool)[which]
    date, moment, time = spelled(rows["at"])
    return pl.DataFrame(
        {
            "measurement_date": date,
            "measurement_datetime": moment,
            "measurement_id": rows["observation_id"],
            "person_id": rows["patient_id"],
            "measurement_concept_id": np.array([concepts.get(code, 0) for code in words], np.int64)[which],
            "measurement_time": time,
            "value_as_number": rows["value"],
            "visit_occurrence_id": rows["encounter_id"],
            "measurement_source_value": texts(words, which),
            "unit_source_value": texts(unit, which).set(pl.Series(without), None),
            "value_source_value": _source_value(rows),
        }
    ).with_columns(
        measurement_type_concept_id=pl.lit(EHR), unit_concept_id=pl.lit(0), measurement_source_concept_id=pl.lit(0)
    )


def _answers(rows: Table, concepts: Mapping[str, int]) -> Table:
    words, which = told_apart(rows["code"])
    date, moment, _ = spelled(rows["at"])
    return pl.DataFrame(
        {
            "observation_date": date,
            "observation_datetime": moment,
            "observation_id": rows["observation_id"] * 2,
            "person_id": rows["patient_id"],
            "visit_occurrence_id": rows["encounter_id"],
            "observation_concept_id": np.array([concepts.get(code, 0) for code in words], np.int64)[which],
            "value_as_number": rows["value"],
            "observation_source_value": texts(words, which),
            "value_source_value": _source_value(rows),
        }
    ).with_columns(
        observation_type_concept_id=pl.lit(EHR), unit_concept_id=pl.lit(0), observation_source_concept_id=pl.lit(0)
    )


def _source_value(rows: Table) -> pl.Series:
    """A number, a text or a code as a text, whichever there is."""
    number = decimals(rows["value"])
    others = [c for c in ("value_text", "value_code") if c in rows.columns and rows[c].null_count() < rows.height]
    if not others or not number.null_count():
        return number
    return rows.select(pl.coalesce(number, *(pl.col(c).cast(pl.String) for c in others))).to_series()


def _deaths(patient: Table, observation: Table) -> Table:
    """Who has died, with the cause where the record tells one."""
    dead = patient.filter(pl.col("death_at").is_not_null())
    told = observation.filter((pl.col("code").cast(pl.String) == CAUSE) & pl.col("value_code").is_not_null())
    told = told.select("patient_id", cause=pl.col("value_code").cast(pl.String)).unique("patient_id", keep="last")
    return dead.join(told, on="patient_id", how="left", maintain_order="left")


def _drugs(tables: Tables, concept, source: pl.Expr, times) -> Table:
    """Prescriptions and vaccinations: even and odd ids keep them apart. The CDM demands an end: of an order that runs on, the patient's last visit."""
    seen = tables["encounter"].group_by("patient_id").agg(last=pl.col("end_at").max())
    request = tables["medication_request"].join(seen, on="patient_id", how="left", maintain_order="left")
    told = [pl.col(c) for c in ("end_at",) if c in request.columns]
    last = pl.max_horizontal("last", "at")
    request = request.with_columns(until=pl.coalesce(*told, pl.col("at") + pl.duration(days=pl.col("days")), last))
    ordered = request.select(
        *times("drug_exposure_start", "at"),
        *times("drug_exposure_end", "until"),
        drug_exposure_id=pl.col("medication_request_id") * 2,
        person_id="patient_id",
        drug_concept_id=concept("code"),
        drug_type_concept_id=pl.lit(EHR),
        days_supply=pl.col("days").cast(pl.Int64),
        visit_occurrence_id="encounter_id",
        drug_source_value=source,
        drug_source_concept_id=pl.lit(0),
    )
    given = tables["immunization"].select(
        *times("drug_exposure_start", "at"),
        *times("drug_exposure_end", "at"),
        drug_exposure_id=pl.col("immunization_id") * 2 + 1,
        person_id="patient_id",
        drug_concept_id=concept("code"),
        drug_type_concept_id=pl.lit(EHR),
        days_supply=pl.lit(1, pl.Int64),
        visit_occurrence_id="encounter_id",
        drug_source_value=source,
        drug_source_concept_id=pl.lit(0),
    )
    return pl.concat([ordered, given])
