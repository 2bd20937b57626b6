"""Classifies a few sentences with the model that comes with oxiformers: no download, no configuration."""

from __future__ import annotations

import argparse
import time

SENTENCES = [
    "We are very happy to show you this library.",
    "We hope you don't hate it.",
    "A gripping, beautifully acted film that stays with you.",
    "Two hours of my life that I will never get back.",
    "The jokes fall flat and the story goes nowhere.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sentences", nargs="*", default=SENTENCES, help="what to classify, each in quotes")
    sentences = parser.parse_args().sentences

    start = time.perf_counter()
    from oxiformers import pipeline

    classifier = pipeline("sentiment-analysis", model="oxiformers/demo-sentiment")
    results = classifier(sentences)
    elapsed = time.perf_counter() - start

    for sentence, result in zip(sentences, results, strict=True):
        print(f"{result['label']:>8} {result['score']:.4f}  {sentence}")
    print(f"\n{len(sentences)} sentences in {elapsed:.2f} s, importing torch and loading the model included")


if __name__ == "__main__":
    main()
