"""Persons, cards, insurances, institutions, terminals and operators."""
