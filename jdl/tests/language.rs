//! The language by itself: printing and reading, evaluation, and what it does at
//! its limits.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use fairway_jdl::eval::clauses;
use fairway_jdl::{Ad, Expr, Value, eval};
use proptest::prelude::*;

fn value_in(ad: &str, expr: &str) -> Value {
    let ad = Ad::parse(ad).unwrap();
    eval(&Expr::parse(expr).unwrap(), &ad, None)
}

fn value(expr: &str) -> Value {
    value_in("[ ]", expr)
}

#[test]
fn logic_is_three_valued() {
    let table = [
        ("false && error", "false"),
        ("error && false", "error"),
        ("undefined && false", "false"),
        ("undefined && true", "undefined"),
        ("undefined || true", "true"),
        ("undefined || false", "undefined"),
        ("false || error", "error"),
        ("\"a\" || true", "error"),
        ("5 && true", "true"),
        ("!undefined", "undefined"),
        ("undefined ? 1 : 2", "undefined"),
        ("undefined ?: 3", "3"),
        ("\"A\" == \"a\"", "true"),
        ("\"A\" =?= \"a\"", "false"),
        ("1 =?= 1.0", "false"),
        ("nosuch =?= undefined", "true"),
        ("{ 1 } =?= { 1 }", "error"),
    ];
    for (expr, expected) in table {
        assert_eq!(value(expr).to_string(), expected, "{expr}");
    }
}

#[test]
fn operators_are_strict_and_typed() {
    let table = [
        ("1 / 0", "error"),
        ("1.0 / 0.0", "error"),
        ("5 % 0", "error"),
        ("-9223372036854775808 / -1", "9223372036854775807"),
        ("5 / 2", "2"),
        ("5 / 2.0", "2.5"),
        ("true + 1", "2"),
        ("\"a\" + 1", "error"),
        ("undefined + error", "error"),
        ("1 < undefined", "undefined"),
        ("1 == \"1\"", "error"),
        ("-1 >>> 1", "9223372036854775807"),
        ("1 + 2 * 3 - 4", "3"),
        ("(1 + 2) * 3", "9"),
        ("1 < 2 == true", "true"),
        ("{ 1, 2 }[2]", "error"),
        ("[ a = 1 ][\"b\"]", "undefined"),
        ("{ [ a = 1 ], [ b = 2 ] }.a", "{ 1, undefined }"),
    ];
    for (expr, expected) in table {
        assert_eq!(value(expr).to_string(), expected, "{expr}");
    }
}

#[test]
fn names_are_looked_up_outwards_and_then_across() {
    assert_eq!(value_in("[ a = [ b = c ]; c = 5 ]", "a.b").to_string(), "5");
    assert_eq!(
        value_in("[ a = [ c = 1; b = parent.c ]; c = 5 ]", "a.b").to_string(),
        "5"
    );
    let my = Ad::parse("[ Needed = 10; X = 1 ]").unwrap();
    let other = Ad::parse("[ Free = 20; X = 2; Limit = other.Needed ]").unwrap();
    let table = [
        ("other.Free >= my.Needed", "true"),
        ("FREE >= NEEDED", "true"),
        ("X", "1"),
        ("target.X", "2"),
        ("other.Limit", "10"),
        ("other.Nothing", "undefined"),
    ];
    for (expr, expected) in table {
        let expr = Expr::parse(expr).unwrap();
        assert_eq!(
            eval(&expr, &my, Some(&other)).to_string(),
            expected,
            "{expr}"
        );
    }
    // Without an ad on the other side, nothing of it is known.
    assert_eq!(
        eval(&Expr::parse("other.Free").unwrap(), &my, None),
        Value::Undefined
    );
}

#[test]
fn functions_of_each_family() {
    let table = [
        ("ifThenElse(1 == 1, \"yes\", 1 / 0)", "\"yes\""),
        ("int(\"3.9\")", "3"),
        ("string(1.5)", "\"1.500000000000000E+00\""),
        ("bool(\"TRUE\")", "true"),
        ("eval(\"1 + 1\")", "2"),
        ("eval(\"1 +\")", "error"),
        ("strcat(\"a\", 1, true)", "\"a1true\""),
        ("join(\"-\", { \"a\", \"b\" })", "\"a-b\""),
        ("substr(\"abcdefg\", -2, 1)", "\"f\""),
        ("split(\"a b,c\")", "{ \"a\", \"b\", \"c\" }"),
        ("member(\"A\", { \"a\" })", "true"),
        ("identicalMember(\"A\", { \"a\" })", "false"),
        ("anyCompare(\"<\", { 5, 1 }, 2)", "true"),
        ("allCompare(\"<\", { 5, 1 }, 2)", "false"),
        ("sum({ 1, 2.5 })", "3.5"),
        ("avg({ })", "0"),
        ("min({ })", "undefined"),
        ("max({ 1, 7 })", "7"),
        ("round(2.5)", "2"),
        ("pow(2, -1)", "0.5"),
        ("quantize(7, { 1, 3, 10 })", "10"),
        ("regexp(\"^ce[0-9]+\", \"ce12.site\")", "true"),
        ("regexp(\"(\", \"a\")", "error"),
        ("regexps(\"a(b)\", \"xab\", \"<\\\\1>\")", "\"<b>\""),
        ("replaceAll(\"a\", \"banana\", \"o\")", "\"bonono\""),
        ("stringListIMember(\"B\", \"a, b\")", "true"),
        ("stringListSum(\"1,2\")", "3"),
        ("versionGE(\"1.10\", \"1.9\")", "true"),
        (
            "formatTime(0, \"%Y-%m-%d %H:%M:%S\")",
            "\"1970-01-01 00:00:00\"",
        ),
        ("getMonth(absTime(\"2026-11-22T15:04:05+01:00\"))", "11"),
        ("interval(90061)", "\"1+01:01:01\""),
        (
            "absTime(\"2020-01-02\") - absTime(\"2020-01-01\")",
            "relTime(86400.0)",
        ),
        ("FQANmember(\"VOMS:/a/Role=NULL\", { \"VOMS:/a\" })", "true"),
        ("envV1ToV2(\"a=x y;b=2\")", "\"a=x' 'y b=2\""),
        ("nosuch(1)", "error"),
        ("member(1)", "error"),
    ];
    for (expr, expected) in table {
        assert_eq!(value(expr).to_string(), expected, "{expr}");
    }
}

#[test]
fn time_is_an_attribute_not_a_clock() {
    assert_eq!(value("time()"), Value::Undefined);
    assert_eq!(
        value_in("[ CurrentTime = 60 ]", "time() + 1").to_string(),
        "61"
    );
    let ad = "[ CurrentTime = 60 ]";
    assert_eq!(
        value_in(ad, "random(1000000)"),
        value_in(ad, "random(1000000)")
    );
    assert_ne!(
        value_in(ad, "random(1000000)"),
        value_in("[ CurrentTime = 61 ]", "random(1000000)")
    );
}

#[test]
fn what_never_ends_has_an_end() {
    assert_eq!(value_in("[ x = y; y = x ]", "x"), Value::Undefined);
    assert_eq!(value_in("[ x = x + 1 ]", "x"), Value::Undefined);
    assert_eq!(value_in("[ f = eval(\"f\") ]", "f"), Value::Undefined);
    // A list of itself is as deep as is allowed.
    let deep = value_in("[ x = { x } ]", "x").to_string();
    assert!(deep.ends_with("} } }") && deep.contains("error"), "{deep}");
    // Twice as much work with each name: ends by the count of steps.
    let doubling: String = (0..64)
        .map(|i| format!("a{i} = a{} + a{};", i + 1, i + 1))
        .collect();
    assert_eq!(
        value_in(&format!("[ {doubling} a64 = 1 ]"), "a0"),
        Value::Error
    );
    let chain: String = (0..1000).map(|i| format!("a{i} = a{};", i + 1)).collect();
    assert_eq!(
        value_in(&format!("[ {chain} a1000 = 1 ]"), "a0"),
        Value::Error
    );
}

#[test]
fn depth_is_told_not_suffered() {
    for (open, close) in [
        ("(", ")"),
        ("{", "}"),
        ("[ a = ", "]"),
        ("-", ""),
        ("!", ""),
        ("f(", ")"),
    ] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let errors = Expr::parse(&deep).unwrap_err();
        assert!(
            errors
                .iter()
                .any(|e| e.message.contains("nested too deeply")),
            "{open}: {errors:?}"
        );
    }
    let errors = Expr::parse(&vec!["1"; 100_000].join(" + ")).unwrap_err();
    assert_eq!(errors[0].message, "this is nested too deeply");
    // What is as deep as allowed can be read, printed, evaluated and dropped.
    let deep = format!("{}1{}", "(1 + ".repeat(95), ")".repeat(95));
    assert_eq!(value(&deep).to_string(), "96");
}

#[test]
fn what_is_hostile_ends_soon() {
    // Deep in every way that there is: refused with the place, or evaluated.
    for (unit, end) in [
        ("true ? 1 : ", "1"),
        ("a ?: ", "1"),
        ("! - ~ + ", "1"),
        ("a.", "a"),
        ("1 - ", "1"),
        ("{ [ a = f(", ""),
        ("x[", ""),
        ("a && (", ""),
    ] {
        let deep = format!("{}{end}", unit.repeat(100_000));
        let errors = Expr::parse(&deep).unwrap_err();
        assert!(errors[0].message.contains("deeply"), "{unit}: {errors:?}");
    }
    // Long, but not deep.
    let megabyte = "x".repeat(1 << 20);
    assert_eq!(
        value(&format!("size(\"{megabyte}\")")),
        Value::Integer(1 << 20)
    );
    let list = format!("size({{ {} 0 }})", "0, ".repeat(500_000));
    assert_eq!(value(&list), Value::Integer(500_001));
    assert!(Expr::parse(&"9".repeat(1 << 20)).is_err());
    // What doubles with each name: texts and lists end at their limits.
    let doubling = |operation: &str| -> String {
        let names =
            (0..60).map(|i| format!("a{} = {operation};", i).replace('#', &format!("a{}", i + 1)));
        format!(
            "[ {} a60 = \"xxxxxxxxxxxxxxxx\" ]",
            names.collect::<String>()
        )
    };
    assert_eq!(value_in(&doubling("strcat(#, #)"), "a40"), Value::Error);
    assert_eq!(
        value_in(&doubling("replaceAll(\"x\", #, #)"), "a40"),
        Value::Error
    );
    let lists = value_in(&doubling("{ #, # }"), "size(string(a40))");
    assert_eq!(lists, Value::Integer(11));
    // A pattern that backtracking engines need the age of the universe for.
    let text = "a".repeat(5000);
    for (pattern, expected) in [
        ("(a*)*b", "false"),
        ("(a|aa)+$", "true"),
        ("(a*)*\\\\1b", "error"),
    ] {
        let expr = format!("regexp(\"{pattern}\", \"{text}\")");
        assert_eq!(value(&expr).to_string(), expected, "{pattern}");
    }
    // A list of lists that would not fit into memory.
    let many = "b, ".repeat(200_000);
    let wide = format!(
        "[ b = {{ {} 1 }}; c = {{ {many} 1 }} ]",
        "1, ".repeat(200_000)
    );
    assert!(value_in(&wide, "c").to_string().contains("error"));
    let compiled = format!("regexp(\"{}\", \"a\")", "(a{1000}){1000}");
    assert_eq!(value(&compiled), Value::Error);
}

#[test]
fn a_long_chain_of_alternatives_is_not_deep() {
    let chain = vec!["other.GlueCEUniqueID == \"x\""; 20_000].join(" || ");
    let expr = Expr::parse(&chain).unwrap();
    assert_eq!(eval(&expr, &Ad::new(), None), Value::Undefined);
}

#[test]
fn the_canonical_form_is_short() {
    let table = [
        ("((a) && (b)) && (c || d)", "a && b && (c || d)"),
        ("a && (b && c)", "a && (b && c)"),
        ("-(5)", "-5"),
        ("-(a)", "-a"),
        ("(1 + 2) * 3", "(1 + 2) * 3"),
        ("1 + (2 * 3)", "1 + 2 * 3"),
        ("1 - (2 - 3)", "1 - (2 - 3)"),
        ("(a ? b : c) ? d : e", "(a ? b : c) ? d : e"),
        ("a is undefined", "a =?= undefined"),
        ("{1,2,}", "{ 1, 2 }"),
        ("[a=1;;b=\"x\\\"y\"]", "[ a = 1; b = \"x\\\"y\" ]"),
        ("other . 'odd name'", "other.'odd name'"),
    ];
    for (text, canonical) in table {
        match Expr::parse(text) {
            Ok(expr) => assert_eq!(expr.to_string(), canonical, "{text}"),
            Err(_) => assert!(text.contains(",}"), "{text}"),
        }
    }
}

#[test]
fn clauses_say_why() {
    let my = Ad::parse("[ MinTime = 720 ]").unwrap();
    let other = Ad::parse(
        "[ GlueCEPolicyMaxWallClockTime = 60; GlueCEStateStatus = \"Production\"; \
           GlueHostApplicationSoftwareRunTimeEnvironment = { \"MPI\", \"ROOT\" }; \
           GlueCEUniqueID = \"ce1.site/short\" ]",
    )
    .unwrap();
    let expr = Expr::parse(
        "720 <= other.GlueCEPolicyMaxWallClockTime && other.GlueCEStateStatus == \"Production\" \
         && MinTime < other.GlueCEPolicyMaxWallClockTime * 10 \
         && member(\"CUDA\", other.GlueHostApplicationSoftwareRunTimeEnvironment) \
         && other.GlueHostMainMemoryRAMSize >= 4096 && RegExp(\"^cream\", other.GlueCEUniqueID) \
         && (other.GlueCEStateStatus == \"Closed\" || other.Nothing > 1) && true",
    )
    .unwrap();
    let told: Vec<String> = clauses(&expr, &my, &other)
        .into_iter()
        .map(|clause| format!("{} | {} | {}", clause.value, clause.text, clause.because))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

/// Any expression.
fn expressions() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Expr::from),
        any::<f64>().prop_map(|x| Expr::from(Value::Real(x))),
        ".{0,6}".prop_map(|s| Expr::from(&*s)),
        Just(Expr::from(true)),
        Just(Expr::from(Value::Undefined)),
        Just(Expr::from(Value::Error)),
        (any::<i32>(), -50_000..50_000_i32).prop_map(|(seconds, offset)| {
            let (seconds, offset) = (i64::from(seconds), offset / 60 * 60);
            Expr::from(Value::AbsTime { seconds, offset })
        }),
        any::<i32>().prop_map(|s| Expr::from(Value::RelTime(f64::from(s)))),
        "(a|B|other|my|self|parent|is_it|target)".prop_map(|name| Expr::parse(&name).unwrap()),
    ];
    leaf.prop_recursive(6, 48, 4, |inner| {
        let op = prop_oneof![
            Just("+"),
            Just("-"),
            Just("*"),
            Just("/"),
            Just("%"),
            Just("<<"),
            Just(">>>"),
            Just("<"),
            Just(">="),
            Just("=="),
            Just("!="),
            Just("=?="),
            Just("=!="),
            Just("&"),
            Just("^"),
            Just("|"),
            Just("&&"),
            Just("||"),
            Just("?:"),
        ];
        let function = prop_oneof![
            Just("strcat"),
            Just("member"),
            Just("size"),
            Just("substr"),
            Just("eval"),
            Just("sum"),
            Just("regexp"),
            Just("int"),
            Just("absTime"),
            Just("relTime"),
            Just("formatTime"),
            Just("splitTime"),
            Just("quantize"),
            Just("pow"),
            Just("join"),
            Just("split"),
            Just("random"),
            Just("interval"),
            Just("unknown"),
            Just("replaceAll"),
            Just("stringListSum"),
            Just("versioncmp"),
            Just("unparse"),
        ];
        prop_oneof![
            (inner.clone(), op, inner.clone())
                .prop_map(|(a, op, b)| Expr::parse(&format!("({a}) {op} ({b})")).unwrap()),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| Expr::parse(&format!("({a}) ? ({b}) : ({c})")).unwrap()),
            (
                prop_oneof![Just("-"), Just("!"), Just("~"), Just("+")],
                inner.clone()
            )
                .prop_map(|(op, a)| Expr::parse(&format!("{op}({a})")).unwrap()),
            (function, proptest::collection::vec(inner.clone(), 0..4)).prop_map(|(name, args)| {
                let args: Vec<String> = args.iter().map(ToString::to_string).collect();
                let call = Expr::parse(&format!("{name}({})", args.join(", ")));
                // Of a text that is no time, there is no literal.
                call.unwrap_or_else(|_| Expr::from(Value::Error))
            }),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                Expr::parse(&format!("{{ {} }}", items.join(", "))).unwrap()
            }),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| Expr::parse(&format!("[ a = {a}; 'b c' = {b} ]")).unwrap()),
            inner
                .clone()
                .prop_map(|a| Expr::parse(&format!("({a}).a")).unwrap()),
            (inner.clone(), inner).prop_map(|(a, b)| Expr::parse(&format!("({a})[{b}]")).unwrap()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(expr in expressions()) {
        let text = expr.to_string();
        let again = Expr::parse(&text);
        prop_assert_eq!(again.as_ref(), Ok(&expr), "{}", text);
        prop_assert_eq!(again.unwrap().to_string(), text);
    }

    #[test]
    fn values_read_back_as_themselves(expr in expressions()) {
        let my = Ad::parse("[ a = 1; B = { 1, \"x\" } ]").unwrap();
        let value = eval(&expr, &my, Some(&my));
        let again = Expr::parse(&value.to_string()).unwrap();
        prop_assert_eq!(again, Expr::from(value));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        if let Err(errors) = Expr::parse(&text) {
            prop_assert!(!errors.is_empty());
        }
    }

    #[test]
    fn tokens_in_any_order_are_read_or_refused(
        tokens in proptest::collection::vec(
            prop_oneof![
                Just("a"), Just("="), Just(";"), Just("["), Just("]"), Just("{"), Just("}"),
                Just("("), Just(")"), Just(","), Just("\"x\""), Just("\""), Just("'"), Just("1"),
                Just("."), Just("?"), Just(":"), Just("&&"), Just("-"), Just("is"), Just("%(A)s"),
                Just("/*"), Just("//"), Just("\n"), Just("#"), Just("other"), Just("é"),
            ],
            0..40,
        ),
    ) {
        let text = tokens.join(" ");
        let _ = Expr::parse(&text);
        let _ = Ad::parse(&text);
        let _ = fairway_jdl::JobSpec::read(&text);
    }
}
