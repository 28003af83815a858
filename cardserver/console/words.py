"""Every text of the console, in Chinese and in English.

Not here: texts of response codes, which are the protocol's.
"""

from collections.abc import Mapping

from cardserver.console.access import Language

_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("值班台", "Console"),
    # navigation
    "page.LIVE": ("实时", "Live"),
    "page.REFUSALS": ("拒付", "Refusals"),
    "page.REQUEST": ("单笔追踪", "One request"),
    "page.TERMINALS": ("终端", "Terminals"),
    "page.CENTRE": ("中心", "Centre"),
    "page.REGISTRY": ("参保登记", "Registry"),
    "page.REVIEW": ("审核", "Review"),
    "page.RECONCILIATION": ("对账", "Reconciliation"),
    "page.CLEARING": ("清算", "Clearing"),
    "page.WORKLOAD": ("工作量", "Workload"),
    "page.REVOCATIONS": ("注销名单", "Revocations"),
    "page.AUDIT": ("审计", "Audit"),
    # frame
    "sign_on": ("登录", "Sign on"),
    "sign_off": ("退出", "Sign off"),
    "operator": ("工号", "Operator"),
    "password": ("密码", "Password"),
    "language": ("English", "中文"),
    "theme": ("深色 / 浅色", "Dark / light"),
    "keys": ("快捷键", "Keys"),
    "keys.pages": ("换页", "change the page"),
    "keys.search": ("到搜索框", "go to the search field"),
    "keys.language": ("换语言", "change the language"),
    "keys.theme": ("深色或浅色", "dark or light"),
    "keys.help": ("显示本表", "show this list"),
    "ended": ("会话已结束，请重新登录。", "The session has ended: please sign on again."),
    "not_yours": (
        "此页面不属于您的岗位。",
        "This page does not belong to your role.",
    ),
    "none": ("没有", "none"),
    "search": ("搜索", "Search"),
    "show": ("查看", "Show"),
    "all": ("全部", "all"),
    "copied": ("已复制", "copied"),
    # sign-on
    "refused": ("工号或密码不对。", "Unknown operator, or another password."),
    "locked": (
        "该工号已锁定，请联系管理员解锁。",
        "This operator is locked: ask an administrator.",
    ),
    "not_permitted": ("该工号不是基金中心的。", "This operator is not one of the fund's."),
    "full": ("登录人数已满，请稍后再试。", "Too many are signed on: try again later."),
    "unavailable": (
        "数据库暂时连不上，请稍后再试。",
        "The database can't be reached: try again later.",
    ),
    # live
    "live.rate": ("每秒请求", "requests a second"),
    "live.settle": ("结算 p99", "settlement p99"),
    "live.card": ("读卡 p99", "card opening p99"),
    "live.felt": ("窗口感受 p95", "felt at counters p95"),
    "live.refused": ("未通过比例", "share not approved"),
    "live.connected": ("在线终端", "terminals connected"),
    "live.queue": ("等待入账", "waiting for a commit"),
    "live.lost": (
        "有 {0} 笔没有显示（忙时略过）",
        "{0} requests not shown (passed over when busy)",
    ),
    "live.course": ("近十分钟", "The last ten minutes"),
    "live.heat": ("耗时分布（p95）", "Where time goes (p95)"),
    "live.by": ("按", "by"),
    "live.types": ("交易类型", "message type"),
    "live.minutes": ("最近 {0} 分钟", "last {0} minutes"),
    "by.STAGE": ("环节", "stage"),
    "by.INSTITUTION": ("机构", "institution"),
    "by.TERMINAL": ("终端", "terminal"),
    "by.CARD": ("卡种", "card type"),
    "by.TYPE": ("交易类型", "message type"),
    "by.FELT": ("窗口感受", "felt at the counter"),
    "count": ("笔数", "count"),
    "rate": ("每秒", "per second"),
    "name": ("名称", "name"),
    # refusals
    "refusals.code": ("应答码", "code"),
    "refusals.meaning": ("含义", "meaning"),
    "refusals.institutions": ("机构数", "institutions"),
    "refusals.examples": ("最近的例子", "latest examples"),
    "refusals.institution": ("只看机构（代码）", "one institution (code)"),
    "refusals.retry": ("重发建议", "retry"),
    # one request
    "request.msgid": ("报文编号（msgid）", "msgid"),
    "request.unknown": ("没有这个报文编号的记录。", "Nothing is known of this msgid."),
    "request.outcome": ("结果", "outcome"),
    "request.stages": ("各环节耗时", "stages"),
    "request.claim": ("结算", "claim"),
    "request.postings": ("分录", "postings"),
    "request.recorded": ("记录时间", "recorded"),
    "request.terminal": ("终端", "terminal"),
    "request.kept": (
        "只在内存中，未入库",
        "in memory only, not stored",
    ),
    "request.latest": ("最近的请求", "latest requests"),
    "time": ("时间", "time"),
    "type": ("类型", "type"),
    "institution": ("机构", "institution"),
    "terminal": ("终端", "terminal"),
    "total": ("合计", "total"),
    "account": ("科目", "account"),
    "debit": ("借方", "debit"),
    "credit": ("贷方", "credit"),
    "claim.fund": ("基金支付", "fund"),
    "claim.account": ("个人账户", "account"),
    "claim.cash": ("现金", "cash"),
    # centre
    "centre.workers": ("工作进程", "Workers"),
    "centre.address": ("地址", "address"),
    "centre.state": ("状态", "state"),
    "centre.reached": ("正常", "reached"),
    "centre.in_flight": ("处理中", "in flight"),
    "centre.database": ("数据库", "Database"),
    "centre.replication": ("复制", "Replication"),
    "centre.slots": ("入账槽位", "Writer slots"),
    "centre.slot": ("槽位", "slot"),
    "centre.owner": ("持有者", "held by"),
    "centre.entries": ("分录数", "entries"),
    "centre.lease": ("租约到", "lease until"),
    "centre.fact": ("项目", "fact"),
    "centre.value": ("数值", "value"),
    # registry
    "registry.query": ("人员编号、证件号或卡号", "person, document or card number"),
    "registry.unknown": ("没有找到。", "Nothing has this number."),
    "registry.history": ("变更历史", "History of changes"),
    "registry.facts": ("登记信息", "Registered"),
    "registry.insurances": ("参保", "Insurances"),
    "registry.cards": ("卡", "Cards"),
    "registry.documents": ("证件", "Documents"),
    "registry.state": ("状态", "state"),
    "registry.begins": ("起", "from"),
    "registry.ends": ("止", "to"),
    "registry.before": ("之前", "before"),
    "registry.after": ("之后", "after"),
    "registry.who": ("谁", "who"),
    # revocations
    "revocations.version": ("名单版本", "list version"),
    "revocations.made": ("生成时间", "made"),
    "revocations.cards": ("注销的卡", "revoked cards"),
    "revocations.certificates": ("注销的证书", "revoked certificates"),
    "revocations.latest": ("最近的变动", "latest changes"),
    "revocations.reason": ("原因", "reason"),
    "revocations.subject": ("对象", "subject"),
    # audit
    "audit.who": ("谁", "who"),
    "audit.action": ("做了什么", "action"),
    "audit.subject": ("对象", "subject"),
    "audit.detail": ("详情", "detail"),
    "audit.from": ("起（YYYYMMDD）", "from (YYYYMMDD)"),
    "audit.to": ("止（YYYYMMDD）", "to (YYYYMMDD)"),
    "audit.bad_day": ("日期写作 YYYYMMDD。", "A day is written YYYYMMDD."),
}


def word(key: str, language: Language, *values: object) -> str:
    """Return a text; `{0}` ... stand for the values."""
    text = _WORDS[key][0 if language is Language.ZH else 1]
    return text.format(*values) if values else text


def names() -> frozenset[str]:
    """Return the name of every text."""
    return frozenset(_WORDS)
