"""Chapter 6: from language models back to control: right answers, and every mistake."""

RIGHT = {}
WRONG = {}
ELSEWHERE = {}
