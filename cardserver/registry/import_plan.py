"""Which files an import takes, in which order, and what loads each.

Not here: how rows are loaded (`import_store.py`, `person_import_store.py`).
"""

from pathlib import Path

from cardserver.registry import import_files, tables
from cardserver.registry.import_files import ImportFileError
from cardserver.registry.import_store import (
    INSTITUTION_EXISTS,
    PERSON_EXISTS,
    FileLoader,
    Loader,
    Reference,
)
from cardserver.registry.opening_accumulators_store import AccumulatorLoader
from cardserver.registry.person_import_store import PersonLoader

# In this order: what is referred to comes first.
LOADERS: tuple[FileLoader, ...] = (
    Loader(import_files.EMPLOYERS, tables.employer, fixed=("code",)),
    Loader(import_files.INSTITUTIONS, tables.institution, kept=("state",), fixed=("code",)),
    Loader(import_files.CONTRACTS, tables.contract, references=(INSTITUTION_EXISTS,)),
    Loader(
        import_files.OPERATORS,
        tables.operator,
        extra=(("failures", 0),),
        kept=("password_hash", "state", "department"),
        fixed=("institution_no", "code"),
        references=(INSTITUTION_EXISTS,),
    ),
    PersonLoader(),
    Loader(
        import_files.IDENTITIES,
        tables.identity,
        fixed=("person_no",),
        references=(PERSON_EXISTS,),
    ),
    Loader(
        import_files.FAMILIES,
        tables.family,
        references=(Reference("payer_person_no", tables.person, "person_no"),),
    ),
    Loader(import_files.INSURANCES, tables.insurance, references=(PERSON_EXISTS,)),
    Loader(
        import_files.CARDS,
        tables.card,
        not_stored=("historical",),
        kept=("state",),
        fixed=("profile", "identity", "region", "person_no"),
        references=(PERSON_EXISTS,),
    ),
    Loader(
        import_files.FILINGS,
        tables.filing,
        kept=("ends",),
        references=(PERSON_EXISTS, INSTITUTION_EXISTS),
    ),
    AccumulatorLoader(),
)
CATALOGUE_FILE = "catalogue"  # brought into its versions by cardserver/catalogue/list_import.py
FILE_NAMES = (
    CATALOGUE_FILE,
    *(loader.spec.name for loader in LOADERS),
    import_files.BALANCES.name,
)


def files_of(directory: Path) -> list[str]:
    """Return the names of the folder's files, in the order in which they are to be loaded.

    Raises:
        ImportFileError: There are none, or one that means nothing here.
    """
    if not directory.is_dir():
        raise ImportFileError(f"{directory} is not a folder")
    present = {path.stem for path in directory.glob("*.csv")}
    unknown = sorted(present.difference(FILE_NAMES))
    if unknown:
        raise ImportFileError(
            f"{directory / unknown[0]}.csv means nothing here: known are {', '.join(FILE_NAMES)}"
        )
    if not present:
        raise ImportFileError(f"{directory} holds no CSV files")
    return [name for name in FILE_NAMES if name in present]
