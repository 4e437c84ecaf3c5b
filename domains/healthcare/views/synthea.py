"""CSV files in Synthea's layout, so that what reads Synthea's output reads ours: the names of files and columns are its own."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ....core.schema import Schema
from ....core.tables import Table, Tables
from .csvs import INSTANT, Layout, file, first_block, shown

LAYOUT: Layout = {
    "patients": file(
        "Id,BIRTHDATE,DEATHDATE,SSN,DRIVERS,PASSPORT,PREFIX,FIRST,MIDDLE,LAST,SUFFIX,MAIDEN,MARITAL,RACE,ETHNICITY,GENDER,BIRTHPLACE,"
        "ADDRESS,CITY,STATE,COUNTY,FIPS,ZIP,LAT,LON,HEALTHCARE_EXPENSES,HEALTHCARE_COVERAGE,INCOME",
        "Id",
    ),
    "encounters": file(
        "Id,START,STOP,PATIENT,ORGANIZATION,PROVIDER,PAYER,ENCOUNTERCLASS,CODE,DESCRIPTION,BASE_ENCOUNTER_COST,TOTAL_CLAIM_COST,"
        "PAYER_COVERAGE,REASONCODE,REASONDESCRIPTION",
        "Id", PATIENT="patients", ORGANIZATION="organizations", PROVIDER="providers", PAYER="payers",
    ),
    "conditions": file("START,STOP,PATIENT,ENCOUNTER,SYSTEM,CODE,DESCRIPTION", None, PATIENT="patients", ENCOUNTER="encounters"),
    "medications": file(
        "START,STOP,PATIENT,PAYER,ENCOUNTER,CODE,DESCRIPTION,BASE_COST,PAYER_COVERAGE,DISPENSES,TOTALCOST,REASONCODE,REASONDESCRIPTION",
        None, PATIENT="patients", ENCOUNTER="encounters", PAYER="payers",
    ),
    "observations": file(
        "DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE", None, PATIENT="patients", ENCOUNTER="encounters"
    ),
    "immunizations": file("DATE,PATIENT,ENCOUNTER,CODE,DESCRIPTION,BASE_COST", None, PATIENT="patients", ENCOUNTER="encounters"),
    "procedures": file(
        "START,STOP,PATIENT,ENCOUNTER,SYSTEM,CODE,DESCRIPTION,BASE_COST,REASONCODE,REASONDESCRIPTION", None,
        PATIENT="patients", ENCOUNTER="encounters",
    ),
    "careplans": file(
        "Id,START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION,REASONCODE,REASONDESCRIPTION", "Id", PATIENT="patients",
        ENCOUNTER="encounters",
    ),
    "allergies": file(
        "START,STOP,PATIENT,ENCOUNTER,CODE,SYSTEM,DESCRIPTION,TYPE,CATEGORY,REACTION1,DESCRIPTION1,SEVERITY1,REACTION2,"
        "DESCRIPTION2,SEVERITY2",
        None, PATIENT="patients", ENCOUNTER="encounters",
    ),
    "devices": file("START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION,UDI", None, PATIENT="patients", ENCOUNTER="encounters"),
    "imaging_studies": file(
        "Id,DATE,PATIENT,ENCOUNTER,SERIES_UID,BODYSITE_CODE,BODYSITE_DESCRIPTION,MODALITY_CODE,MODALITY_DESCRIPTION,INSTANCE_UID,"
        "SOP_CODE,SOP_DESCRIPTION,PROCEDURE_CODE",
        "Id", PATIENT="patients", ENCOUNTER="encounters",
    ),
    "supplies": file("DATE,PATIENT,ENCOUNTER,CODE,DESCRIPTION,QUANTITY", None, PATIENT="patients", ENCOUNTER="encounters"),
    "organizations": file("Id,NAME,ADDRESS,CITY,STATE,ZIP,LAT,LON,PHONE,REVENUE,UTILIZATION,NPI", "Id"),
    "providers": file(
        "Id,ORGANIZATION,NAME,GENDER,SPECIALITY,ADDRESS,CITY,STATE,ZIP,LAT,LON,ENCOUNTERS,PROCEDURES,NPI",
        "Id", ORGANIZATION="organizations",
    ),
    "payers": file(
        "Id,NAME,OWNERSHIP,ADDRESS,CITY,STATE_HEADQUARTERED,ZIP,PHONE,AMOUNT_COVERED,AMOUNT_UNCOVERED,REVENUE,COVERED_ENCOUNTERS,"
        "UNCOVERED_ENCOUNTERS,COVERED_MEDICATIONS,UNCOVERED_MEDICATIONS,COVERED_PROCEDURES,UNCOVERED_PROCEDURES,"
        "COVERED_IMMUNIZATIONS,UNCOVERED_IMMUNIZATIONS,UNIQUE_CUSTOMERS,QOLS_AVG,MEMBER_MONTHS",
        "Id",
    ),
    "payer_transitions": file(
        "PATIENT,MEMBERID,START_DATE,END_DATE,PAYER,SECONDARY_PAYER,PLAN_OWNERSHIP,OWNER_NAME", None, PATIENT="patients", PAYER="payers"
    ),
    "claims": file(
        "Id,PATIENTID,PROVIDERID,PRIMARYPATIENTINSURANCEID,SECONDARYPATIENTINSURANCEID,DEPARTMENTID,PATIENTDEPARTMENTID,DIAGNOSIS1,"
        "DIAGNOSIS2,DIAGNOSIS3,DIAGNOSIS4,DIAGNOSIS5,DIAGNOSIS6,DIAGNOSIS7,DIAGNOSIS8,REFERRINGPROVIDERID,APPOINTMENTID,"
        "CURRENTILLNESSDATE,SERVICEDATE,SUPERVISINGPROVIDERID,STATUS1,STATUS2,STATUSP,OUTSTANDING1,OUTSTANDING2,OUTSTANDINGP,"
        "LASTBILLEDDATE1,LASTBILLEDDATE2,LASTBILLEDDATEP,HEALTHCARECLAIMTYPEID1,HEALTHCARECLAIMTYPEID2",
        "Id", PATIENTID="patients", PROVIDERID="providers", PRIMARYPATIENTINSURANCEID="payers", APPOINTMENTID="encounters",
    ),
}  # fmt: skip
CLASS = {"AMB": "ambulatory", "EMER": "emergency", "IMP": "inpatient", "HH": "home", "VR": "virtual"}
RACE = {
    "2106-3": "white",
    "2054-5": "black",
    "2028-9": "asian",
    "1002-5": "native",
    "2076-8": "hawaiian",
    "2131-1": "other",
}
NO_INSURANCE = "payer-none"


def _id(kind: str, column: str) -> pl.Expr:
    return pl.when(pl.col(column).is_not_null()).then(pl.concat_str(pl.lit(f"{kind}-"), pl.col(column).cast(pl.String)))


def _code(column: str, mapped: Mapping[str, str]) -> pl.Expr:
    return pl.col(column).cast(pl.String).replace_strict(dict(mapped), default=None, return_dtype=pl.String)


def tables(schema: Schema, tables: Tables, _: Tables) -> Mapping[str, Table]:
    """The files of one block; organizations, providers and payers come with the first."""
    codes = {n: c.codes for n, c in schema.code_lists.items()}
    snomed = {**codes["condition_snomed"], **{c: c for c in schema.code_lists["condition"].others}}

    def day(column: str) -> pl.Expr:
        return pl.col(column).dt.date().cast(pl.String)

    def at(column: str) -> pl.Expr:
        return pl.col(column).dt.strftime(INSTANT)

    policy = tables["coverage"].select("coverage_id", payer="organization_id")
    bill = tables["claim"].join(policy, on="coverage_id", how="left", maintain_order="left")
    payer = _id("payer", "payer").fill_null(NO_INSURANCE)
    paid = bill.group_by("patient_id").agg(pl.col("total").sum().round(2), pl.col("paid_by_insurer").sum().round(2))
    people = tables["patient"].join(paid, on="patient_id", how="left", maintain_order="left")
    visits = tables["encounter"].join(
        bill.select("encounter_id", "total", "paid_by_insurer", "payer"),
        on="encounter_id",
        how="left",
        maintain_order="left",
    )
    whose = visits.select("encounter_id", "payer")
    reasons = tables["condition"].select("condition_id", reason="code")
    orders = tables["medication_request"].join(whose, on="encounter_id", how="left", maintain_order="left")
    orders = orders.join(reasons, on="condition_id", how="left", maintain_order="left")
    patient, encounter = _id("patient", "patient_id"), _id("encounter", "encounter_id")
    code = pl.col("code").cast(pl.String)
    made: dict[str, Table] = {
        "patients": people.select(
            Id=patient, BIRTHDATE=pl.col("birth_date").cast(pl.String), DEATHDATE=day("death_at"),
            FIRST="given_name", MIDDLE="middle_name", LAST="family_name", MARITAL=pl.col("marital_status").cast(pl.String),
            RACE=_code("race", RACE), ETHNICITY=_code("ethnicity", {"2135-2": "hispanic", "2186-5": "nonhispanic"}),
            GENDER=_code("sex", {"male": "M", "female": "F"}), ADDRESS="line", CITY="city", STATE="state", ZIP="postal_code",
            HEALTHCARE_EXPENSES=pl.col("total").fill_null(0.0), HEALTHCARE_COVERAGE=pl.col("paid_by_insurer").fill_null(0.0),
        ),
        "encounters": visits.select(
            Id=encounter, START=at("start_at"), STOP=at("end_at"), PATIENT=patient,
            ORGANIZATION=_id("organization", "organization_id"), PROVIDER=_id("practitioner", "practitioner_id"), PAYER=payer,
            ENCOUNTERCLASS=_code("class", CLASS), CODE=pl.col("type").cast(pl.String),
            DESCRIPTION=shown(codes["encounter_type"], "type"), BASE_ENCOUNTER_COST="total", TOTAL_CLAIM_COST="total",
            PAYER_COVERAGE="paid_by_insurer", REASONCODE=_code("reason", snomed),
            REASONDESCRIPTION=shown(codes["condition"], "reason"),
        ),
        "conditions": tables["condition"].select(
            START=day("onset_at"), STOP=day("abatement_at"), PATIENT=patient, ENCOUNTER=encounter,
            SYSTEM=pl.lit("http://snomed.info/sct"), CODE=_code("code", snomed),
            DESCRIPTION=shown(codes["condition"], "code"),
        ),
        "medications": orders.with_columns(until=_until(orders)).select(
            START=at("at"), STOP=at("until"), PATIENT=patient, PAYER=payer, ENCOUNTER=encounter, CODE=code,
            DESCRIPTION=shown(codes["medication"], "code"), DISPENSES=pl.lit(1),
            REASONCODE=_code("reason", snomed), REASONDESCRIPTION=shown(codes["condition"], "reason"),
        ),
        "observations": tables["observation"].select(
            DATE=at("at"), PATIENT=patient, ENCOUNTER=encounter, CATEGORY=_code("code", codes["observation_category"]), CODE=code,
            DESCRIPTION=shown(codes["observation"], "code"), **_found(tables["observation"], codes),
        ),
        "immunizations": tables["immunization"].select(
            DATE=at("at"), PATIENT=patient, ENCOUNTER=encounter, CODE=code, DESCRIPTION=shown(codes["vaccine"], "code")
        ),
        "payer_transitions": tables["coverage"].select(
            PATIENT=patient, MEMBERID="member_number", START_DATE=at("start_at"), END_DATE=at("end_at"),
            PAYER=_id("payer", "organization_id"), PLAN_OWNERSHIP=pl.lit("Self"),
        ),
        "claims": bill.join(
            tables["encounter"].select("encounter_id", "practitioner_id", "reason", "start_at"), on="encounter_id", how="left",
            maintain_order="left",
        ).select(
            Id=_id("claim", "claim_id"), PATIENTID=patient, PROVIDERID=_id("practitioner", "practitioner_id"),
            PRIMARYPATIENTINSURANCEID=payer, DIAGNOSIS1=_code("reason", snomed), APPOINTMENTID=encounter,
            CURRENTILLNESSDATE=at("start_at"), SERVICEDATE=at("start_at"), STATUS1=pl.lit("CLOSED"), OUTSTANDING1=pl.lit(0),
            LASTBILLEDDATE1=at("at"),
        ),
    }  # fmt: skip
    made |= _of_modules(schema, tables, snomed)
    if first_block(tables):
        places = tables["organization"].with_columns(pl.col("kind").cast(pl.String))
        insurers = places.filter(pl.col("kind").cast(pl.String).is_in(list(schema.code_lists["coverage_kind"].codes)))
        made["organizations"] = places.select(
            Id=_id("organization", "organization_id"),
            NAME="name",
            ADDRESS="line",
            CITY="city",
            STATE="state",
            ZIP="postal_code",
            PHONE="phone",
        )
        made["providers"] = tables["practitioner"].select(
            Id=_id("practitioner", "practitioner_id"), ORGANIZATION=_id("organization", "organization_id"),
            NAME=pl.concat_str("given_name", pl.lit(" "), "family_name"), GENDER=_code("sex", {"male": "M", "female": "F"}),
            SPECIALITY=shown(codes["specialty"], "specialty"), NPI="npi",
        )  # fmt: skip
        payers = insurers.select(
            Id=_id("payer", "organization_id"), NAME="name",
            OWNERSHIP=pl.when(pl.col("kind") == "private").then(pl.lit("PRIVATE")).otherwise(pl.lit("GOVERNMENT")),
            ADDRESS="line", CITY="city", STATE_HEADQUARTERED="state", ZIP="postal_code", PHONE="phone",
        )  # fmt: skip
        nobody = pl.DataFrame({"Id": [NO_INSURANCE], "NAME": ["NO_INSURANCE"], "OWNERSHIP": ["NO_INSURANCE"]})
        made["payers"] = pl.concat([nobody, payers], how="diagonal")
    return made


def _until(orders: Table) -> pl.Expr:
    """When a prescription ends: after its days of supply, or when a module ended it."""
    ends = pl.col("at") + pl.duration(days=pl.col("days"))
    return pl.coalesce("end_at", ends) if "end_at" in orders.columns else ends


def _found(observation: Table, codes: Mapping[str, Mapping[str, str]]) -> dict[str, pl.Expr]:
    """Value, unit and type of observations: numbers, or texts and what codes mean."""
    unit = _code("code", codes["observation_unit"])
    numeric, values = pl.col("value").is_not_null(), [pl.col("value").cast(pl.String)]
    if "value_text" in observation.columns:
        unit = pl.coalesce(pl.col("unit").cast(pl.String), unit)
        values.append(pl.col("value_text"))
    return {
        "VALUE": pl.coalesce(*values, shown(codes["finding"], "value_code")),
        "UNITS": pl.when(numeric).then(unit),
        "TYPE": pl.when(numeric).then(pl.lit("numeric")).otherwise(pl.lit("text")),
    }


def _of_modules(schema: Schema, tables: Tables, snomed: Mapping[str, str]) -> dict[str, Table]:
    """The files of what disease modules alone record."""
    reasons = tables["condition"].select("condition_id", reason="code")

    def text(column: str, codes: str) -> pl.Expr:
        return shown(schema.code_lists[codes].codes, column)

    def of(name: str) -> Table:
        frame = tables[name]
        if "condition_id" in frame.columns:
            frame = frame.join(reasons, on="condition_id", how="left", maintain_order="left")
        return frame

    def at(column: str) -> pl.Expr:
        return pl.col(column).dt.strftime(INSTANT)

    whose = {"PATIENT": _id("patient", "patient_id"), "ENCOUNTER": _id("encounter", "encounter_id")}
    span, code = {"START": at("at")}, pl.col("code").cast(pl.String)
    reason = {"REASONCODE": _code("reason", snomed), "REASONDESCRIPTION": text("reason", "condition")}
    made: dict[str, Table] = {}
    if "procedure" in tables:
        made["procedures"] = of("procedure").select(
            **span, STOP=at("end_at"), **whose, SYSTEM=pl.lit("http://snomed.info/sct"), CODE=code,
            DESCRIPTION=text("code", "procedure"), **reason,
        )  # fmt: skip
    if "care_plan" in tables:
        made["careplans"] = of("care_plan").select(
            Id=_id("careplan", "care_plan_id"), **span, STOP=at("end_at"), **whose, CODE=code,
            DESCRIPTION=text("code", "care_plan"), **reason,
        )  # fmt: skip
    if "allergy" in tables:
        made["allergies"] = _allergies(schema, tables).select(
            **span, STOP=at("end_at"), **whose, CODE=code, DESCRIPTION=text("code", "allergy"),
            SYSTEM=_code("code", {c: schema.code_lists["allergy"].system_of(c) or "" for c in schema.code_lists["allergy"].codes}),
            TYPE=pl.col("kind").cast(pl.String), CATEGORY=pl.col("category").cast(pl.String),
            **{f"{name}{n}": f"{name}{n}" for n in (1, 2) for name in ("REACTION", "DESCRIPTION", "SEVERITY")},
        )  # fmt: skip
    if "device" in tables:
        made["devices"] = of("device").select(
            **span, STOP=at("end_at"), **whose, CODE=code, DESCRIPTION=text("code", "device")
        )
    if "imaging_study" in tables:
        made["imaging_studies"] = of("imaging_study").select(
            Id=_id("imaging-study", "imaging_study_id"), DATE=at("at"), **whose, PROCEDURE_CODE=code,
            SERIES_UID=pl.format("2.25.{}", "imaging_study_id"), INSTANCE_UID=pl.format("2.25.{}.1", "imaging_study_id"),
            BODYSITE_CODE=pl.col("body_site").cast(pl.String), BODYSITE_DESCRIPTION=text("body_site", "body_site"),
            MODALITY_CODE=pl.col("modality").cast(pl.String), MODALITY_DESCRIPTION=text("modality", "modality"),
        )  # fmt: skip
    if "supply" in tables:
        made["supplies"] = of("supply").select(
            DATE=at("at"), **whose, CODE=code, DESCRIPTION=text("code", "supply"), QUANTITY="quantity"
        )
    return made


def _allergies(schema: Schema, tables: Tables) -> Table:
    """Allergies with their first two reactions."""
    frame = tables["allergy"]
    if "allergy_reaction" not in tables:
        return frame.with_columns(
            pl.lit(None, pl.String).alias(f"{name}{n}")
            for n in (1, 2)
            for name in ("REACTION", "DESCRIPTION", "SEVERITY")
        )
    shows = tables["allergy_reaction"].sort("allergy_reaction_id").select(
        "allergy_id", k=pl.int_range(1, pl.len() + 1).over("allergy_id"), REACTION=pl.col("code").cast(pl.String),
        DESCRIPTION=shown(schema.code_lists["reaction"].codes, "code"), SEVERITY=pl.col("severity").cast(pl.String).str.to_uppercase(),
    )  # fmt: skip
    for n in (1, 2):
        one = shows.filter(pl.col("k") == n).drop("k")
        one = one.rename({c: f"{c}{n}" for c in one.columns if c != "allergy_id"})
        frame = frame.join(one, on="allergy_id", how="left", maintain_order="left")
    return frame
