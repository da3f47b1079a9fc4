"""Procedural labelled texts: a few hundred parts put together by a seeded draw. Not real texts, and named so.

Parts that speak of the label come among parts that do not, so that a text is not decided by every one of its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

COUNT = 3000

TRIAGE: dict[str, tuple[str, ...]] = {
    "cardiology": (
        "there is a tightness across my chest when I climb stairs",
        "my pulse races and skips beats at night",
        "I feel palpitations after the smallest effort",
        "my ankles swell and I get out of breath lying flat",
        "the pressure reading was far too high again",
        "a dull ache runs from my breastbone to my left arm",
    ),
    "dermatology": (
        "a rash has spread over both of my forearms",
        "a mole on my back has changed its colour",
        "the skin between my fingers cracks and itches",
        "red scaly patches came up on my elbows",
        "I have hives after every shower",
        "pimples cover my face and nothing helps",
    ),
    "dentistry": (
        "a molar aches whenever I drink something cold",
        "my gums bleed each time I brush",
        "a filling fell out while I was chewing",
        "my jaw clicks and a tooth feels loose",
        "there is a sharp corner where a tooth broke off",
        "the swelling under my wisdom tooth throbs",
    ),
    "ophthalmology": (
        "I see dark specks floating in front of everything",
        "the letters blur when I read at night",
        "my left eye is red and waters all day",
        "I see halos around street lamps",
        "a curtain seems to fall over one side of my sight",
        "bright light hurts and my lids stick together",
    ),
    "orthopaedics": (
        "my knee gives way on the stairs",
        "my shoulder hurts when I lift my arm",
        "I twisted my ankle and cannot put weight on it",
        "my lower back locks when I bend down",
        "my wrist is stiff since the cast came off",
        "the hip grinds with every step",
    ),
}
REQUESTS: dict[str, tuple[str, ...]] = {
    "lost card": (
        "my wallet was stolen and the card was in it",
        "please block the debit card, I cannot find it",
        "the machine swallowed my card and did not give it back",
        "I left my credit card in a taxi",
    ),
    "fraud": (
        "there is a payment on my statement that I never made",
        "somebody bought phones abroad in my name",
        "I got a call asking for my code and now money is missing",
        "I do not know this merchant and want the charge reversed",
    ),
    "loan": (
        "we would like to borrow for a new kitchen",
        "what rate would you offer for a mortgage over twenty years",
        "can I repay the rest of my credit early",
        "I need financing for a used car",
    ),
    "transfer": (
        "the money that I sent to my landlord never arrived",
        "how long does a wire to Canada take",
        "I typed one digit of the account number wrong",
        "please raise my daily limit so that I can send the deposit",
    ),
    "new account": (
        "I want to open savings for my daughter",
        "which papers do I need to become a customer",
        "we founded a club and need an account for it",
        "can a student have a free account with you",
    ),
    "access": (
        "the app no longer accepts my fingerprint",
        "I forgot the password for online banking",
        "my login is locked after three attempts",
        "since the update I cannot sign in on my tablet",
    ),
}
REVIEWS: dict[str, tuple[str, ...]] = {
    "liked": (
        "it does its job without fuss",
        "we have used it every day and would buy it again",
        "far sturdier than it looks",
        "my mother asked me to get her one too",
        "I had low hopes and was proved wrong",
        "the battery outlasts the weekend",
        "worth every cent",
        "the sound fills the whole room",
        "it arrived early and worked at once",
        "I cannot imagine cooking without it now",
    ),
    "not liked": (
        "it stopped working after two days",
        "the hinge broke when I opened it",
        "I sent it back and still wait for the refund",
        "far flimsier than in the pictures",
        "I had high hopes and was let down",
        "the battery is empty by noon",
        "a waste of money",
        "the sound rattles at any volume",
        "it came late and without its charger",
        "I would not give it to my worst enemy",
    ),
}
AROUND: dict[str, tuple[str, ...]] = {
    "triage": (
        "I am {age} years old",
        "I work in a {place}",
        "it started {when}",
        "my family doctor sent me",
        "I take no other medicine",
        "could you tell me when I may come",
        "my sister had something similar",
        "I slept badly because of it",
    ),
    "requests": (
        "I have been with you for {age} years",
        "I noticed it {when}",
        "I am writing from a {place}",
        "please answer by letter",
        "your colleague on the phone could not help",
        "thank you for your trouble",
        "it is rather urgent",
        "my number is in your files",
    ),
    "reviews": (
        "I bought it {when}",
        "we use it in a {place}",
        "it was a present for my uncle of {age}",
        "the colour is the one in the picture",
        "the box was the usual brown one",
        "the manual has {age} pages",
        "it weighs about what you would expect",
        "my neighbour has the older model",
    ),
}
PLACES = ("bakery", "school", "garage", "small office", "hotel", "warehouse", "garden centre", "library")
MOMENTS = ("last Monday", "three weeks ago", "in spring", "over the holidays", "yesterday evening", "after lunch")


def drawn(kind: str, parts: Mapping[str, Sequence[str]], count: int, seed: int) -> list[dict[str, str]]:
    """Rows of ``text`` and ``label``, classes in turn: one part of the class, sometimes a second, among two to four
    others."""
    rng = np.random.default_rng([seed, *kind.encode()])
    names = sorted(parts)
    rows = []
    for place in range(count):
        label = names[place % len(names)]
        own = list(rng.choice(parts[label], size=1 + int(rng.random() < 0.3), replace=False))
        other = list(rng.choice(AROUND[kind], size=int(rng.integers(2, 5)), replace=False))
        said = [*own, *other]
        sentences = [said[at] for at in rng.permutation(len(said))]
        text = " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)
        filled = {"age": str(rng.integers(18, 80)), "place": rng.choice(PLACES), "when": rng.choice(MOMENTS)}
        for name, value in filled.items():
            text = text.replace(f"{{{name}}}", str(value))
        rows.append({"text": text, "label": label})
    return rows


def triage() -> list[dict[str, str]]:
    """Complaints of patients: which of five departments. Procedural."""
    return drawn("triage", TRIAGE, COUNT, 0)


def requests() -> list[dict[str, str]]:
    """Letters to a bank: which of six requests. Procedural."""
    return drawn("requests", REQUESTS, COUNT, 0)


def reviews() -> list[dict[str, str]]:
    """Reviews of goods: liked or not. Procedural."""
    return drawn("reviews", REVIEWS, COUNT, 0)
