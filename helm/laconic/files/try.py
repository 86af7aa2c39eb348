"""What `helm test` runs: ask the Service to compress two documents; ends with 1 if the answer is wrong."""

import os

import httpx

from laconic.client import Client, Unauthorized

URL, KEY = os.environ["URL"], os.environ.get("API_KEY")
QUESTION = "Who signed the treaty?"
DOCUMENTS = [
    {"id": "a", "text": "It rained all day. The treaty was signed by Ada. Lunch was good."},
    {"id": "b", "text": "Paris has many bridges. They are old."},
]


def compress() -> str:
    # a certificate is made out for the name that callers know, not for the Service's
    with Client(URL, api_key=KEY, timeout=60, http=httpx.Client(verify=False)) as client:
        answer = client.compress(DOCUMENTS, QUESTION, budget={"tokens": 12})
    if "Ada" not in answer.text or not 0 < answer.usage.tokens_out <= 12:
        raise SystemExit(f"not what was asked for: {answer.model_dump_json()}")
    return f"{answer.usage.tokens_in} tokens became {answer.usage.tokens_out}: {answer.text}"


if not KEY and os.environ["KEYS"] == "yes":  # keys are asked for, and there is none for the test
    try:
        compress()
    except Unauthorized:
        print("refused without a key, as it should be; tests.keySecret would let the test ask with one")
    else:
        raise SystemExit("answered without a key, although there is a file of keys")
else:
    print(compress())
