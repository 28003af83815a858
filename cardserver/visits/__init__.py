"""Visits: outpatient registrations and inpatient stays with their lines, until they are settled."""
