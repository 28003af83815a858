"""The page of those on duty, reviewers and registrars."""
