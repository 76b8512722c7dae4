//! The verdicts by table.

use super::*;

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

fn head(seq: u64, n: u8) -> Head {
    Head {
        seq: Seq(seq),
        digest: digest(n),
    }
}

fn mailbox(last: u64, trimmed_through: u64) -> Mailbox {
    Mailbox {
        last: (last > 0).then(|| head(last, last as u8)),
        trimmed_through: Seq(trimmed_through),
    }
}

#[test]
fn verdicts() {
    let last = Some(head(5, 5));
    enum Want {
        Store(u64, Option<u64>),
        Duplicate,
        Conflict(Head),
        NotNext(Option<Head>),
    }
    use Want::*;
    // (name, last, trimmed, seq, after, digest of the append, what is stored below, want)
    type Row = (&'static str, u64, u64, u64, u64, u8, Option<u8>, Want);
    let table: &[Row] = &[
        ("first is any", 0, 0, 9, 0, 1, None, Store(9, None)),
        (
            "not first to its sender",
            0,
            0,
            9,
            8,
            1,
            None,
            NotNext(None),
        ),
        ("next", 5, 0, 6, 5, 1, None, Store(6, None)),
        (
            "next after all was trimmed",
            5,
            5,
            6,
            5,
            1,
            None,
            Store(6, Some(5)),
        ),
        ("declared gap", 5, 3, 9, 5, 1, None, Store(9, None)),
        ("undeclared gap", 5, 3, 9, 8, 1, None, NotNext(last)),
        (
            "sender that forgot the head",
            5,
            3,
            6,
            4,
            1,
            None,
            NotNext(last),
        ),
        (
            "sender that believes in none",
            5,
            3,
            6,
            0,
            1,
            None,
            NotNext(last),
        ),
        ("same as the last", 5, 0, 5, 4, 5, None, Duplicate),
        ("same as the last, trimmed", 5, 5, 5, 4, 5, None, Duplicate),
        (
            "other than the last",
            5,
            0,
            5,
            4,
            9,
            None,
            Conflict(head(5, 5)),
        ),
        ("same below", 5, 0, 3, 2, 3, Some(3), Duplicate),
        ("other below", 5, 0, 3, 2, 9, Some(3), Conflict(head(3, 3))),
        ("trimmed below", 5, 3, 3, 2, 3, None, NotNext(last)),
    ];
    for (name, last, trimmed, seq, after, n, below, want) in table {
        let before = mailbox(*last, *trimmed);
        let got = before.append(Seq(*seq), Seq(*after), digest(*n), |_| below.map(digest));
        let want = match want {
            Store(seq, superseded) => Verdict::Store {
                mailbox: Mailbox {
                    last: Some(head(*seq, *n)),
                    trimmed_through: Seq(*trimmed),
                },
                superseded: superseded.map(Seq),
            },
            Duplicate => Verdict::Duplicate,
            Conflict(stored) => Verdict::Conflict { stored: *stored },
            NotNext(head) => Verdict::NotNext { head: *head },
        };
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn trims() {
    // (last, trimmed, through, want: trimmed afterwards)
    let table = [
        (0, 0, 5, None),
        (5, 0, 0, None),
        (5, 0, 3, Some(3)),
        (5, 3, 3, None),
        (5, 3, 2, None),
        (5, 3, 5, Some(5)),
        (5, 3, u64::MAX, Some(5)),
    ];
    for (last, trimmed, through, want) in table {
        let plan = mailbox(last, trimmed).trim(Seq(through));
        let want = want.map(|want| TrimPlan {
            mailbox: mailbox(last, want),
            through: Seq(want),
            keep: Seq(last),
        });
        assert_eq!(plan, want, "{last} {trimmed} {through}");
    }
}
