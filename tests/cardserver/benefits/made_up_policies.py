"""Policies of a made-up city that use what the shipped ones do not."""

HEAD = """
name = "test-city"
title_zh = "试验市"
title_en = "Test city"
regions = ["130100"]
insutypes = ["310"]
person_types = ["11", "12", "15"]
begins = 2020-01-01
sources = [{ title = "made up", supports = "all", standing = "verified" }]
"""
OUTPATIENT = """
[outpatient]
med_types = ["11", "41"]
institution_kinds = ["hospital", "pharmacy"]
bands = [{ from = 0, ratios = [{ ratio = "50%" }] }]
"""
INPATIENT = """
[inpatient]
med_types = ["21"]
institution_kinds = ["hospital"]
bands_per = "admission"
bands = [{ from = 0, ratios = [{ ratio = "80%" }] }]
"""

REFERRALS = HEAD + INPATIENT.replace(
    'bands = [{ from = 0, ratios = [{ ratio = "80%" }] }]',
    """
deductible = { per = "admission", amounts = [
    { referrals = ["local", "referred"], amount = 500 },
    { referrals = ["unreferred", "emergency"], amount = 1000 },
] }
bands = [{ from = 0, ratios = [
    { referrals = ["local", "referred"], designated = true, ratio = "80%" },
    { referrals = ["local", "referred"], designated = false, ratio = "60%" },
    { referrals = ["emergency"], ratio = "70%" },
    { referrals = ["unreferred"], ratio = "50%" },
] }]

[[inpatient.excluded]]
referrals = ["unreferred"]
age_below = 18
reason_zh = "未成年人须转诊"
reason_en = "a minor is referred first"
""",
)

SPECIAL = (
    HEAD
    + """
diseases = [
    { code = "M039", title_zh = "高血压", title_en = "Hypertension" },
    { code = "M016", title_zh = "糖尿病", title_en = "Diabetes" },
    { code = "M005", title_zh = "恶性肿瘤", title_en = "Cancer" },
]
"""
    + OUTPATIENT.replace(
        "bands = ",
        'caps = [{ measure = "paid", per = "year", amounts = [{ amount = 2000 }] }]\nbands = ',
    )
    + """
[[special]]
name = "chronic"
title_zh = "门诊慢性病"
title_en = "chronic diseases"
med_types = ["14"]
institution_kinds = ["hospital", "pharmacy"]
diseases = ["M039", "M016"]
items = ["XC*", "XD01"]
deductible = { per = "year", counts_with = ["outpatient"], amounts = [{ amount = 300 }] }
bands = [{ from = 0, ratios = [{ ratio = "70%" }] }]
caps = [
    { measure = "paid", per = "year", amounts = [
        { diseases = ["M039"], amount = 1000 },
        { diseases = ["M016"], amount = 1500 },
    ] },
    { measure = "paid", per = "year", counts_with = ["outpatient"], amounts = [{ amount = 2500 }] },
]

[[special]]
name = "severe"
title_zh = "门诊特殊病"
title_en = "severe diseases"
med_types = ["14"]
institution_kinds = ["hospital"]
diseases = ["M005"]
bands = [{ from = 0, ratios = [{ ratio = "90%" }] }]

[[special]]
name = "special_drugs"
title_zh = "特药"
title_en = "special drugs"
med_types = ["1403"]
institution_kinds = ["hospital", "pharmacy"]
items = ["XL01", "XL02"]
items_filed = true
bands = [{ from = 0, ratios = [{ ratio = "60%" }] }]
"""
)

LAYERS = (
    HEAD
    + INPATIENT
    + """
deductible = { per = "admission", amounts = [{ amount = 1000 }] }
caps = [{ measure = "paid", per = "year", amounts = [{ amount = 10000 }] }]
account = { pays = ["deductible", "own_share"] }

[[inpatient.layers]]
field = "hifob_pay"
base = "left_over"
ratios = [{ ratio = "90%" }]
caps = [
    { measure = "paid", per = "bill", amounts = [{ amount = 5000 }] },
    { measure = "paid", per = "year", amounts = [{ amount = 8000 }] },
]

[[inpatient.layers]]
field = "hifmi_pay"
base = ["deductible", "own_share", "pre_self_pay"]
bands_from = "deductible"
deductible = { per = "year", amounts = [
    { person_types = ["11", "12"], amount = 2000 },
    { person_types = ["15"], amount = 1000 },
] }
bands = [
    { from = 0, to = 1000, ratios = [{ ratio = "60%" }] },
    { from = 1000, ratios = [{ ratio = "70%" }] },
]

[[inpatient.layers]]
field = "cvlserv_pay"
base = "own_share"
only_for = [{ person_types = ["12"] }]
ratios = [{ ratio = "50%" }]

[[inpatient.layers]]
field = "maf_pay"
base = ["own_share", "deductible"]
only_for = [{ person_types = ["15"] }]
ratios = [{ ratio = "80%" }]
caps = [{ measure = "in_scope", per = "year", amounts = [{ amount = 500 }] }]
"""
)

STAYS = (
    HEAD
    + INPATIENT
    + """
stay_across_years = "year_end"
entitled_by = "day"
deductible = { per = "admission", amounts = [
    { levels = [0, 1, 2], admission_to = 1, amount = 500 },
    { levels = [3], admission_to = 1, amount = 1200 },
    { admission_from = 2, admission_to = 2, amount = 300 },
    { admission_from = 3, amount = 0 },
] }
"""
)
