//! Where the language is deliberately not as HTCondor's library has it.

/// One difference from HTCondor's library, with an example that shows it.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// What it is about, in a few words.
    pub subject: &'static str,
    /// An expression whose value differs.
    pub example: &'static str,
    /// Its value here; `refused` if it is not read.
    pub ours: &'static str,
    /// Its value there, as the library prints it.
    pub theirs: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// All deliberate differences. The test against the library holds each example.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        subject: "clock and chance",
        example: "time()",
        ours: "undefined",
        theirs: "…",
        reason: "an evaluation can be repeated: the present is the attribute `CurrentTime` of one \
                 of the ads, and random numbers depend on what is in the ads alone",
    },
    Difference {
        subject: "integers that do not fit",
        example: "9223372036854775808",
        ours: "refused",
        theirs: "0",
        reason: "a number that is silently another one helps nobody",
    },
    Difference {
        subject: "powers of integers",
        example: "pow(-2, 3)",
        ours: "-8",
        theirs: "-7",
        reason: "the library computes in doubles and adds a half before it cuts; what does not \
                 fit is a real here and the smallest integer there",
    },
    Difference {
        subject: "moments and spans beyond 2038",
        example: "interval(3000000000)",
        ours: "\"34722+05:20:00\"",
        theirs: "\"-14988+01:08:16\"",
        reason: "the library counts seconds and subscripts in 32 bits in some places",
    },
    Difference {
        subject: "computed texts as times",
        example: "absTime(strcat(\"2004-02-29\", \"\"))",
        ours: "absTime(\"2004-02-29T00:00:00-00:00\")",
        theirs: "\"2004-02-29\"",
        reason: "the library reads the text only if it is a literal, and else hands it out as it is",
    },
    Difference {
        subject: "extremes of text lists",
        example: "stringListMax(\"-3,-1\")",
        ours: "-1",
        theirs: "0",
        reason: "the library starts from the smallest positive and the largest single-precision \
                 number",
    },
    Difference {
        subject: "the outermost scope of a pair",
        example: "parent",
        ours: "undefined",
        theirs: "[ ad = .LEFT; my = .LEFT; other = .RIGHT; target = .RIGHT ]",
        reason: "`root`, `toplevel`, `.name` and `parent` end at the ad itself; in the library they \
                 show the ad that it makes of a pair, where also `evalInEachContext` takes a name \
                 that nobody defines for undefined as a whole",
    },
    Difference {
        subject: "selections behind a subscript by name",
        example: "[ n = [ a = 1 ] ][\"n\"].a",
        ours: "1",
        theirs: "undefined",
        reason: "the library forgets what is in an ad that was found by a subscript",
    },
    Difference {
        subject: "the identity of lists",
        example: "split(\"a\") is { \"a\" }",
        ours: "error",
        theirs: "false",
        reason: "lists have no identity, whoever made them; the library takes those of `split` and \
                 its like for another type than those that are written",
    },
    Difference {
        subject: "parentheses and layout of expressions as text",
        example: "string({ ((1)) })",
        ours: "\"{ 1 }\"",
        theirs: "\"{ ((1)) }\"",
        reason: "an expression is written with the parentheses that it needs, in one line",
    },
    Difference {
        subject: "`$` before the last newline",
        example: "regexp(\"a$\", \"a\\n\")",
        ours: "false",
        theirs: "true",
        reason: "the end of a text is its end; patterns run in linear time, on another engine \
                 than the library's",
    },
    Difference {
        subject: "parts of characters",
        example: "substr(\"\\303\\251\", 0, 1)",
        ours: "\"Ã\"",
        theirs: "…",
        reason: "texts are UTF-8: an escape stands for the character with that number, and no \
                 character is cut in two",
    },
    Difference {
        subject: "depth",
        example: "-------- 1",
        ours: "1",
        theirs: "1",
        reason: "200 levels are read and 400 evaluated, with at most 100,000 steps and texts of \
                 1 MiB; the library's limit is 400 levels for both",
    },
    Difference {
        subject: "the computer's users",
        example: "userHome(\"root\")",
        ours: "undefined",
        theirs: "\"/root\"",
        reason: "nothing is known of this computer's users: the value is the second argument",
    },
];
