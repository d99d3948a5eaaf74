//! Expressions and ads by chance, from a seed.

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

/// The ads that expressions are evaluated in.
pub(crate) const MY: &str = r#"[
    A = 1; b = 2.5; s = "Text"; t = true; u = undefined; e = error; l = { 1, "x", 2.0, A };
    n = [ c = A + 1; d = [ c = 7; f = c; g = parent.c ]; A = 9 ]; CurrentTime = 1000000000;
    when = absTime("2004-02-29T12:30:45+01:00"); span = relTime(3661); loop = loop + 1;
    Rank = other.x; ads = { [ v = 1; w = A ], [ v = 2; w = v ] }; list = "one, two,three";
    r = TARGET.Memory > A && Disk + other.Cpus > my.b || nothing.x; r2 = strcat(foo, { bar }, r3);
    r3 = [ x = baz; y = x ].y + zz + Zz; alone = z;
    e2 = v > 1; v2 = v * 2; z = 26; q = "a\"b"
]"#;
pub(crate) const TARGET: &str = r#"[
    A = -4; x = 12; s = "other"; back = other.A; mine = my.A; only = { 3, 4 }; deep = [ k = A ];
    Requirements = other.A > 0
]"#;

const LITERALS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "7",
    "10",
    "63",
    "64",
    "1000000000",
    "9223372036854775807",
    "-9223372036854775808",
    "0.0",
    "1.0",
    "2.5",
    "-0.5",
    "1e10",
    "1.5E-3",
    ".25",
    "1e308",
    "1e400",
    "true",
    "false",
    "TRUE",
    "undefined",
    "error",
    "\"\"",
    "\"a\"",
    "\"A\"",
    "\"abc def\"",
    "\"10\"",
    "\"2.5\"",
    "\"-7\"",
    "\"true\"",
    "\"x,y, z\"",
    "\"a\\tb\\\"c\"",
    "\"\\101\"",
    "absTime(\"2004-02-29T12:30:45+01:00\")",
    "absTime(\"2010-12-31\")",
    "relTime(90061)",
    "relTime(\"1+02:03:04\")",
    "relTime(-5)",
    "relTime(1.5)",
    "{ }",
    "{ 1, 2, 3 }",
    "[ ]",
];
const NAMES: &[&str] = &[
    "A",
    "a",
    "b",
    "s",
    "t",
    "u",
    "e",
    "l",
    "n",
    "when",
    "span",
    "nothing",
    "x",
    "ads",
    "list",
    "other.A",
    "target.x",
    "other.nothing",
    "my.A",
    "self.b",
    "n.c",
    "n.d.f",
    "n.d.g",
    "n.A",
    "n.nothing",
    "other.back",
    "target.mine",
    "ads.v",
    "ads.w",
    "l[0]",
    "l[3]",
    "only",
    "deep.k",
    "'A'",
    "'no such'",
    "n[\"c\"]",
    "s.x",
    "u.x",
    "my.my.A",
    "other.other.A",
    "parent.A",
];
const BINARY: &[&str] = &[
    "+", "-", "*", "/", "%", "<<", ">>", ">>>", "<", "<=", ">", ">=", "==", "!=", "=?=", "=!=",
    "is", "isnt", "&", "|", "^", "&&", "||", "?:",
];
const UNARY: &[&str] = &["-", "+", "!", "~"];
/// Functions whose value depends on nothing but their arguments and the ads.
pub(crate) const FUNCTIONS: &[&str] = &[
    "isUndefined",
    "isError",
    "isString",
    "isInteger",
    "isReal",
    "isList",
    "isClassAd",
    "isBoolean",
    "isAbsTime",
    "isRelTime",
    "ifThenElse",
    "int",
    "real",
    "bool",
    "string",
    "eval",
    "unparse",
    "strcat",
    "join",
    "substr",
    "split",
    "toLower",
    "toUpper",
    "strcmp",
    "stricmp",
    "splitUserName",
    "splitSlotName",
    "regexp",
    "regexpMember",
    "regexps",
    "replace",
    "replaceAll",
    "stringList_regexpMember",
    "stringListSize",
    "stringListSum",
    "stringListAvg",
    "stringListMin",
    "stringListMax",
    "stringListMember",
    "stringListIMember",
    "stringListSubsetMatch",
    "stringListISubsetMatch",
    "stringListsIntersect",
    "size",
    "member",
    "identicalMember",
    "anyCompare",
    "allCompare",
    "sum",
    "avg",
    "min",
    "max",
    "countMatches",
    "evalInEachContext",
    "floor",
    "ceiling",
    "ceil",
    "round",
    "pow",
    "quantize",
    "absTime",
    "relTime",
    "formatTime",
    "interval",
    "splitTime",
    "getYear",
    "getMonth",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getDays",
    "getHours",
    "getMinutes",
    "getSeconds",
    "versioncmp",
    "versionGT",
    "versionGE",
    "versionLT",
    "versionLE",
    "versionEQ",
    "version_in_range",
    "envV1ToV2",
    "mergeEnvironment",
    "listToArgs",
    "argsToList",
    "noSuch",
];
/// Texts that the functions have a meaning for.
const TEXTS: &[&str] = &[
    "\"a b c\"",
    "\"1,2,3\"",
    "\"1, 2.5 ;3\"",
    "\"a=1;b=x y\"",
    "\"a=1 b='x y'\"",
    "\"user@host\"",
    "\"^a.*c$\"",
    "\"(b)(c)?\"",
    "\"[a-c]+\"",
    "\"i\"",
    "\"g\"",
    "\", \"",
    "\";\"",
    "\"<\"",
    "\">=\"",
    "\"==\"",
    "\"is\"",
    "\"%Y-%m-%d %H:%M\"",
    "\"1.2.10\"",
    "\"1.2.9\"",
    "\"10.1-a\"",
    "\"\\\\1-\\\\0\"",
    "\"A + 1\"",
    "\"1 +\"",
    "\"2004-02-29T12:30:45Z\"",
    "\"1d2h3m4.5s\"",
    "\"5:06\"",
    "\" 12 \"",
    "\"0x1F\"",
    "\"1e3\"",
    "\"INF\"",
    "\"NaN\"",
    "\"one,two\"",
    "\"TWO\"",
];

pub(crate) fn expression(chance: &mut Chance, depth: usize) -> String {
    if depth == 0 || chance.one_in(6) {
        return leaf(chance);
    }
    let below = depth - 1;
    match chance.below(20) {
        0..=6 => {
            let (left, op) = (operand(chance, below), chance.pick(BINARY));
            format!("{left} {op} {}", operand(chance, below))
        }
        7 => format!("{}{}", chance.pick(UNARY), operand(chance, below)),
        8 => {
            let (condition, yes) = (operand(chance, below), operand(chance, below));
            format!("{condition} ? {yes} : {}", operand(chance, below))
        }
        9..=14 => {
            let arguments = many(chance, below, [0, 1, 1, 2, 2, 2, 3, 3, 4]);
            format!("{}({arguments})", chance.pick(FUNCTIONS))
        }
        15 => format!("{{ {} }}", many(chance, below, [0, 1, 2, 3, 3, 4, 1, 2, 1])),
        16 => format!("{}[{}]", operand(chance, below), expression(chance, below)),
        17 => {
            let name = chance.pick(&["A", "v", "p", "q", "x"]);
            format!("{}.{name}", ad(chance, below))
        }
        18 => ad(chance, below),
        _ => format!("({})", expression(chance, below)),
    }
}

fn leaf(chance: &mut Chance) -> String {
    match chance.below(5) {
        0 | 1 => chance.pick(LITERALS),
        2 => chance.pick(TEXTS),
        _ => chance.pick(NAMES),
    }
    .to_owned()
}

/// Mostly without parentheses it does not need, so that precedence is tried too.
fn operand(chance: &mut Chance, depth: usize) -> String {
    let inner = expression(chance, depth);
    if chance.one_in(2) {
        format!("({inner})")
    } else {
        inner
    }
}

fn many(chance: &mut Chance, depth: usize, counts: [usize; 9]) -> String {
    let count = counts[chance.below(counts.len())];
    let items: Vec<String> = (0..count).map(|_| expression(chance, depth)).collect();
    items.join(", ")
}

fn ad(chance: &mut Chance, depth: usize) -> String {
    let attribute = |chance: &mut Chance, name| format!("{name} = {}", expression(chance, depth));
    let attributes: Vec<String> = ["A", "p", "q"]
        .into_iter()
        .filter(|_| !chance.one_in(3))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|name| attribute(chance, name))
        .collect();
    format!("[ {} ]", attributes.join("; "))
}

/// Tokens in any order: most are no expression, and both must say so.
pub(crate) fn tokens(chance: &mut Chance) -> String {
    const TOKENS: &[&str] = &[
        "1", "a", "2.5", "\"t\"", "'q'", "(", ")", "{", "}", "[", "]", ".", ",", "+", "-", "!",
        "?", ":", "?:", "=", "==", "=?=", "is", "isnt", "&&", "true", "error", "f(", "a.b", "a[",
        "/* c */", "<", ">>>", "~", "*",
    ];
    let count = 1 + chance.below(6);
    let tokens: Vec<&str> = (0..count).map(|_| chance.pick(TOKENS)).collect();
    tokens.join(if chance.one_in(4) { "" } else { " " })
}

/// An ad of a job or a machine with Requirements and Rank about the other.
pub(crate) fn side(chance: &mut Chance) -> String {
    let clause = |chance: &mut Chance| {
        let name = chance.pick(&["other.Cpus", "target.Os", "Memory", "my.Cpus", "other.none"]);
        let op = chance.pick(&["<", ">=", "==", "!=", "=?=", "=!="]);
        let value = chance.pick(&[
            "4",
            "2.0",
            "\"Linux\"",
            "\"linux\"",
            "undefined",
            "other.Memory",
        ]);
        format!("{name} {op} {value}")
    };
    let requirements = match chance.below(8) {
        0 => String::new(),
        1 => format!(
            "Requirements = {};",
            chance.pick(&["1", "0", "2.5", "\"x\"", "error"])
        ),
        2 => format!("Requirements = {};", clause(chance)),
        3 => format!("Requirements = {} || {};", clause(chance), clause(chance)),
        4 => format!(
            "Requirements = !({}) && {};",
            clause(chance),
            clause(chance)
        ),
        _ => format!("requirements = {} && {};", clause(chance), clause(chance)),
    };
    let rank = chance.pick(&[
        "other.Cpus",
        "Memory * 2",
        "-target.Load",
        "other.none",
        "random",
    ]);
    let mut ad = format!("[ {requirements} Rank = {rank};");
    for (name, values) in [
        ("Cpus", &["1", "4", "8", "other.Cpus"][..]),
        ("Memory", &["2.0", "4", "16", "Cpus * 2"]),
        ("Os", &["\"Linux\"", "\"LINUX\"", "\"Other\""]),
        ("Load", &["0.5", "3", "undefined"]),
    ] {
        if !chance.one_in(4) {
            ad.push_str(&format!(" {name} = {};", chance.pick(values)));
        }
    }
    ad.push_str(" ]");
    ad
}
