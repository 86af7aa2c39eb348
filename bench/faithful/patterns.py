"""Patterns of texts whose meaning hangs on a word, a line or a mark that a cut can lose."""

from __future__ import annotations

import re

from .cases import DRUGS, FILLERS, MONTHS, OTHERS, PEOPLE, PLACES, THINGS, Case, Draw, Pattern


def asked(n: int, query: str) -> str | None:
    """Every third case asks nothing."""
    return None if n % 3 == 2 else query


def negation(kind: str, draw: Draw, n: int) -> Case:
    drug, other = draw.one(DRUGS), draw.one(OTHERS)
    forms = [
        (f"Do not take {drug} with {other}.", f"take {drug} with {other}", "Do not"),
        (f"{drug} must never be stored near {other}.", f"be stored near {other}", "never"),
        (f"There is no evidence that {drug} reacts with {other}.", f"{drug} reacts with {other}", "no evidence"),
        (f"Doctors have not found that {drug} weakens {other}.", f"{drug} weakens {other}", "not found"),
        (f"The agency denied that {drug} had been sold with {other}.", f"been sold with {other}", "denied"),
    ]
    said, part, cue = forms[n % len(forms)]
    text = draw.among(said, f"{drug} comes in packs of thirty.")
    query = asked(n, f"May I take {drug} with {other}?")
    return Case(kind=kind, documents=(text,), query=query, together=((part, cue),), mustnot=(rf"\bDo take {drug}",))


def exception(kind: str, draw: Draw, n: int) -> Case:
    place, thing = draw.one(PLACES), draw.one(THINGS)
    said, part, cue = [
        (f"Entry to {thing} is free for everybody except visitors from {place}.", f"Entry to {thing}", "except"),
        (f"Smoking is forbidden in {place} except on the terrace.", f"forbidden in {place}", "except on the terrace"),
        (
            f"All claims about {thing} are paid, other than those from {place}.",
            "are paid",
            f"other than those from {place}",
        ),
        (f"Guests may use {thing} unless a flag is up in {place}.", f"may use {thing}", "unless a flag is up"),
        (f"Only members who live in {place} may open {thing}.", f"may open {thing}", "Only members"),
    ][n % 5]
    text = draw.among(said, f"{thing.capitalize()} was built in {draw.number(1850, 1990)}.")
    return Case(
        kind=kind, documents=(text,), query=asked(n, f"Who may use {thing} in {place}?"), together=((part, cue),)
    )


def condition(kind: str, draw: Draw, n: int) -> Case:
    thing, who = draw.one(THINGS), draw.one(PEOPLE)
    said, part, cue = [
        (f"If the red lamp is on, leave {thing} at once.", f"leave {thing}", "red lamp is on"),
        (f"Open {thing} only after {who} has signed the sheet.", f"Open {thing}", f"only after {who} has signed"),
        (f"Do not enter {thing} before the pressure is below {n + 2} bar.", "the pressure is below", "Do not enter"),
        (f"Wait until {who} calls before you start {thing}.", f"start {thing}", "Wait until"),
        (
            f"{who} will pay for {thing} provided that the vote passes.",
            f"pay for {thing}",
            "provided that the vote passes",
        ),
    ][n % 5]
    text = draw.among(said, f"{thing.capitalize()} is checked every year.")
    return Case(kind=kind, documents=(text,), query=asked(n, f"What must I do with {thing}?"), together=((part, cue),))


def bound(kind: str, draw: Draw, n: int) -> Case:
    drug, dose = draw.one(DRUGS), 25 * draw.number(1, 30)
    said, part, cue = [
        (f"Adults take at most {dose} mg of {drug} a day.", f"{dose} mg of {drug}", "at most"),
        (f"At least {dose} ml of water must be drunk with {drug}.", f"{dose} ml of water", "At least"),
        (f"{drug} keeps for between {n + 3} and {n + 9} months.", f"{n + 9} months", f"between {n + 3} and"),
        (f"A dose of {drug} is {dose}–{dose + 50} mg.", f"{dose + 50} mg", f"{dose}–"),
        (f"No more than {n + 2} tablets of {drug} may be taken.", f"{n + 2} tablets", "No more than"),
    ][n % 5]
    text = draw.among(said, f"{drug} is white and round.")
    query = asked(n, f"How much {drug} may be taken?")
    return Case(kind=kind, documents=(text,), query=query, together=((part, cue),))


def steps(kind: str, draw: Draw, n: int) -> Case:
    things = draw.some(THINGS, 4)
    items = [f"Unlock {things[0]}.", f"Drain {things[1]}.", f"Clean {things[2]} with care.", f"Lock {things[3]} again."]
    marks = ("1. 2. 3. 4.", "1) 2) 3) 4)", "(a) (b) (c) (d)", "- - - -")[n % 4].split()
    lines = [f"{mark} {item}" for mark, item in zip(marks, items, strict=True)]
    text = "\n".join([draw.one(FILLERS), "", "Before the visit:", *lines, "", *draw.some(FILLERS, 3)])
    pairs = [
        *((item, line) for item, line in zip(items, lines, strict=True)),
        *((i, "Before the visit:") for i in items),
    ]
    return Case(kind=kind, documents=(text,), query=asked(n, f"What is done with {things[2]}?"), together=tuple(pairs))


def turns(kind: str, draw: Draw, n: int) -> Case:
    names = [p.split()[0] for p in draw.some(PEOPLE, 3)]
    things = draw.some(THINGS, 3)
    said = [
        f"I cannot pay for {t}. We should ask again in {m}." for t, m in zip(things, draw.some(MONTHS, 3), strict=True)
    ]
    label = ("{}: ", "**{}:** ", "[10:0{i}] {}: ")[n % 3]
    lines = [label.replace("{i}", str(i)).format(names[i]) + said[i] for i in range(3)]
    text = "\n".join([*lines, f"{label.replace('{i}', '4').format(names[0])}Let us stop here."])
    wrong = [
        rf"(?m)^[^\n]*{o}:[^\n]*{re.escape(s)}"
        for i, t in enumerate(said)
        for s in split(t)
        for o in names
        if o != names[i]
    ]
    alone = [rf"(?m)^{re.escape(s)}" for t in said for s in split(t)]
    return Case(
        kind=kind,
        documents=(text,),
        query=asked(n, f"What does {names[1]} say about {things[1]}?"),
        mustnot=(*wrong, *alone),
    )


def split(text: str) -> list[str]:
    return [f"{s}." for s in text.rstrip(".").split(". ")]


def table(kind: str, draw: Draw, n: int) -> Case:
    people, places = draw.some(PEOPLE, 5), draw.some(PLACES, 5)
    head = "| Name | Town | Fee |"
    rows = [f"| {p} | {t} | {draw.number(20, 900)} EUR |" for p, t in zip(people, places, strict=True)]
    text = "\n".join([draw.one(FILLERS), "", head, "|---|---|---|", *rows, "", *draw.some(FILLERS, 3)])
    pairs = [(p, row) for p, row in zip(people, rows, strict=True)] + [(row, head) for row in rows]
    return Case(kind=kind, documents=(text,), query=asked(n, f"What does {people[2]} pay?"), together=tuple(pairs))


def keys(kind: str, draw: Draw, n: int) -> Case:
    who, place = draw.one(PEOPLE), draw.one(PLACES)
    values = {
        "Owner": who,
        "Place": place,
        "Phone": f"+44 20 7946 0{draw.number(100, 999)}",
        "Since": str(draw.number(1950, 2020)),
    }
    lines = [f"{key}: {value}" for key, value in values.items()]
    text = "\n".join([*lines, "", *draw.some(FILLERS, 5)])
    key = list(values)[n % 4]
    pairs = [(value, f"{key}: {value}") for key, value in values.items()]
    return Case(kind=kind, documents=(text,), query=asked(n, f"What is the {key.lower()}?"), together=tuple(pairs))


def quotation(kind: str, draw: Draw, n: int) -> Case:
    who, thing = draw.one(PEOPLE), draw.one(THINGS)
    left, right = ("“”", '""', "«»")[n % 3]
    first, last = f"We will sell {thing}.", "That is what they want us to say."
    text = draw.among(f"{who} told the meeting: {left}{first} {last}{right}", f"{who} spoke for an hour.")
    return Case(
        kind=kind,
        documents=(text,),
        query=asked(n, f"Will they sell {thing}?"),
        together=((first, last), (last, first), (first, "told the meeting")),
    )


def bracket(kind: str, draw: Draw, n: int) -> Case:
    drug, dose = draw.one(DRUGS), 5 * draw.number(2, 40)
    text = draw.among(
        f"{drug} is taken in the morning (adults: {dose} mg. Children: {dose // 5} mg.) with water.",
        f"{drug} is sold in pharmacies.",
    )
    whole = f"(adults: {dose} mg. Children: {dose // 5} mg.)"
    query = asked(n, f"How much {drug} do children take?")
    return Case(kind=kind, documents=(text,), query=query, together=(("Children:", whole), ("adults:", whole)))


def date(kind: str, draw: Draw, n: int) -> Case:
    day, month, year = draw.number(1, 28), draw.one(MONTHS), draw.number(1990, 2026)
    forms = (
        f"{day} {month} {year}",
        f"{month} {day}, {year}",
        f"{year}-{n % 9 + 1:02}-{day:02}",
        f"{day}/{n % 9 + 1}/{year}",
        f"{day}. {month} {year}, 7:{day + 10} pm",
    )
    when, thing = forms[n % len(forms)], draw.one(THINGS)
    text = draw.among(
        f"Talks about {thing} are due to resume in {draw.one(PLACES)} on {when}.", "They broke off twice."
    )
    part = when.split()[0] if " " in when else when.split("/")[0].split("-")[0]
    return Case(
        kind=kind,
        documents=(text,),
        query=asked(n, f"When will talks about {thing} resume?"),
        together=((f" {part}", when),),
    )


def name(kind: str, draw: Draw, n: int) -> Case:
    who, place = draw.one(PEOPLE), draw.one(PLACES)
    title = ("Dr. ", "Prof. ", "Sir ", "", "Mrs. ")[n % 5]
    text = draw.among(
        f"The treaty was signed by {title}{who} of the {place} Trade Union Council.", "It rained all day."
    )
    first, last = who.split()
    pairs = (
        (first, f"{title}{who}"),
        (last, who),
        ("Trade", f"{place} Trade Union Council"),
        ("Council", "Trade Union Council"),
    )
    return Case(kind=kind, documents=(text,), query=asked(n, "Who signed the treaty?"), together=pairs)


def address(kind: str, draw: Draw, n: int) -> Case:
    one = (
        "help.desk+night@example.co.uk",
        "https://example.org/a/b_c?id=7&x=%20#top",
        "192.168.10.44:8080",
        "v2.10.3-rc.1",
        "/etc/app/conf.d/main.yaml",
        "+47 22 85 50 50",
        "E-1042/B",
        "ISBN 978-3-16-148410-0",
    )[n % 8]
    text = draw.among(f"If {draw.one(THINGS)} fails, use {one} and wait for an answer.", "Somebody is always on duty.")
    bits = [b for b in re.split(r"[\s@/.:+?&=#_-]+", one) if len(b) > 1 and b not in text.replace(one, "")]
    return Case(
        kind=kind,
        documents=(text,),
        query=asked(n, "Whom do I ask when it fails?"),
        together=tuple((b, one) for b in bits),
    )


def unit(kind: str, draw: Draw, n: int) -> Case:
    value = draw.number(11, 990)
    what = ("km/h", "°C", "million euros", "per cent", "kWh", "square metres", "%")[n % 7]
    amount = f"{value}{'' if what == '%' else ' '}{what}"
    text = draw.among(
        f"{draw.one(THINGS).capitalize()} was rated at {amount} in the last test.", "The test took a day."
    )
    return Case(kind=kind, documents=(text,), query=asked(n, "How was it rated?"), together=((f" {value}", amount),))


def wrapped(kind: str, draw: Draw, n: int) -> Case:
    """Lines broken at a width, as in mail and in text from a PDF; some go on with a capital letter."""
    who, place = draw.one(PEOPLE), draw.one(PLACES)
    what = f"the contract with the firm of {who} will not be renewed in {draw.one(MONTHS)}"
    said = f"The council of {place} has decided that {what}."
    words = draw.among(said, fillers=5).split()
    lines, width = [""], 44 + n
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    text = "\n".join(lines)
    found = re.search(r"The\s+council[^.]*\.", text)
    whole = found[0] if found else ""
    bits = [line for line in whole.split("\n") if len(line) > 12]
    return Case(
        kind=kind,
        documents=(text,),
        query=asked(n, f"Is the contract with {who} renewed?"),
        together=tuple((b, whole) for b in bits),
    )


def claim(kind: str, draw: Draw, n: int) -> Case:
    who, thing = draw.one(PEOPLE), draw.one(THINGS)
    said, part, cue = [
        (f"According to {who}, {thing} was never paid for.", f"{thing} was never paid for", f"According to {who}"),
        (f"{who} wrongly believed that {thing} had burned down.", f"{thing} had burned down", "wrongly believed"),
        (f"It is a myth that {thing} is haunted.", f"{thing} is haunted", "It is a myth"),
        (f"{who} failed to prove that {thing} had been stolen.", f"{thing} had been stolen", "failed to prove"),
        (f"Hardly anybody still thinks that {thing} is safe.", f"{thing} is safe", "Hardly anybody"),
    ][n % 5]
    text = draw.among(said, f"{thing.capitalize()} stands near {draw.one(PLACES)}.")
    return Case(kind=kind, documents=(text,), query=asked(n, f"What happened to {thing}?"), together=((part, cue),))


def fused(kind: str, draw: Draw, n: int) -> Case:
    """Lines without a full stop: what is kept of two of them stays on two lines."""
    things, places = draw.some(THINGS, 5), draw.some(PLACES, 5)
    lines = [f"{t.capitalize()} – {p}, room {draw.number(1, 90)}" for t, p in zip(things, places, strict=True)]
    text = "\n".join([*lines, "", draw.one(FILLERS)])
    wrong = [rf"{re.escape(a)}[^\n]+{re.escape(b)}" for a in lines for b in lines if a != b]
    return Case(kind=kind, documents=(text,), query=asked(n, f"Where is {things[3]}?"), mustnot=tuple(wrong))


PATTERNS: dict[str, Pattern] = {
    f.__name__: f
    for f in (
        negation,
        exception,
        condition,
        bound,
        steps,
        turns,
        table,
        keys,
        quotation,
        bracket,
        date,
        name,
        address,
        unit,
        wrapped,
        claim,
        fused,
    )
}
