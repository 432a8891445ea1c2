"""A lead arrives by mail and goes through four steps: parseEmail, enrichCompany, scoreLead, createCRMRecord. The CRM
does not answer for the first CRM_FAILURES calls, so the last step fails with API_TIMEOUT; what was done before it is
not done again."""

import json
import logging
import os
import re
import sys
import time

from fettle import Fettle, NewRun, RetryableError, Run, RunRetry, StepFormatter, StepScope, Trigger

CRM_FAILURES = int(os.environ.get("CRM_FAILURES", 4))  # one more than the retries of a run: it ends as a dead letter
ENDED = ("succeeded", "dead", "cancelled", "discarded")

log = logging.getLogger("leads")
log.setLevel(logging.INFO)
lines = logging.StreamHandler(sys.stdout)
lines.setFormatter(StepFormatter())
log.addHandler(lines)

crm_calls = 0


# Stand-ins for a language model, a company register and the CRM, each with the time and the tokens that it costs.


def parse_email(email: str, step: StepScope) -> dict[str, str]:
    time.sleep(0.023)
    step.usage(tokens=156, cost_usd=0.0004)
    found = re.match(r"From: (.+) <[^@]+@([^>]+)>", email)
    return {"name": found[1], "domain": found[2]} if found else {}


def enrich_company(person: dict[str, str], step: StepScope) -> dict[str, object]:
    time.sleep(0.041)
    step.usage(tokens=312, cost_usd=0.0009)
    return {"company": person["domain"].split(".")[0], "employees": 120}


def score_lead(company: dict[str, object], step: StepScope) -> int:
    time.sleep(0.012)
    step.usage(tokens=88, cost_usd=0.0002)
    return 82 if company["employees"] > 100 else 40


def create_crm_record(record: dict[str, object]) -> dict[str, object]:
    global crm_calls
    time.sleep(0.005)
    crm_calls += 1
    if crm_calls <= CRM_FAILURES:
        raise RetryableError("API_TIMEOUT: Connection timeout after 5s", code="API_TIMEOUT")
    return {"id": f"crm_{crm_calls}", "url": f"https://crm.example/leads/{crm_calls}", **record}


def lead(run: Run) -> object:
    person = run.step("parseEmail", lambda step: parse_email(run.payload["email"], step))
    company = run.step("enrichCompany", lambda step: enrich_company(person, step))
    score = run.step("scoreLead", lambda step: score_lead(company, step))
    return run.step("createCRMRecord", lambda step: create_crm_record({**person, **company, "score": score}))


# FETTLE_URL and FETTLE_TOKEN say where.
with Fettle() as fettle, fettle.worker({"lead": lead}, pool="leads-python", concurrency=4, logger=log):
    made = fettle.enqueue(
        NewRun(
            "lead",
            {"email": "From: Ada Lovelace <ada@analytical.example>\n\nWe would like a quote."},
            pool="leads-python",
            client_id="acme",
            request_id=f"req_{time.time_ns() // 1_000_000:x}",
            max_retries=3,
            retry=RunRetry(base_ms=200, cap_ms=1_000),
            trigger=Trigger("mail", event_key="inbox"),
        )
    )
    print(f"run {made.run_id}", file=sys.stderr)
    while (state := fettle.get(f"/api/v1/runs/{made.run_id}"))["state"] not in ENDED:
        time.sleep(0.2)
    shown = {name: state[name] for name in ("state", "retry_count", "failure_reason")}
    print(json.dumps(shown, separators=(",", ":")), file=sys.stderr)
