//! What each role of a tenant may do, of everything that the API server has: the whole
//! matrix of verbs, resources and subresources, as the API server itself answers it.
//!
//! `golden/access.txt` is the answer; `UPDATE_GOLDEN=1 cargo test -p tests --test access`
//! rewrites it. A cluster that has more resources than the file passes as long as no role
//! may do anything with them.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
};

use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::{Value, json};
use tests::{
    rights::Members,
    server::{Scratch, Server, assert_accepted, eventually},
};

const GOLDEN: &str = "golden/access.txt";

const HEADER: &str = "\
# What the members of a tenant may do, as the API server answers. Rendered by
# `UPDATE_GOLDEN=1 cargo test -p tests --test access`; not to be edited.
#
# - is nothing. Everything that no line names is nothing.
";

const VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// Verbs beyond those of the API, and what they are asked of.
const CUSTOM: &[(&str, &[&str])] = &[
    ("tenants.cloister.dev", &["own"]),
    ("roles.rbac.authorization.k8s.io", &["bind", "escalate"]),
    (
        "clusterroles.rbac.authorization.k8s.io",
        &["bind", "escalate"],
    ),
    ("users", &["impersonate"]),
    ("groups", &["impersonate"]),
    ("serviceaccounts", &["impersonate"]),
    ("uids.authentication.k8s.io", &["impersonate"]),
    ("userextras.authentication.k8s.io", &["impersonate"]),
    ("signers.certificates.k8s.io", &["approve", "sign"]),
    ("*.*", &["*"]),
];

/// Where something is asked for.
#[derive(Clone, Debug)]
struct Place {
    title: &'static str,
    namespace: String,
    name: String,
}

/// One question: who, what, where.
#[derive(Clone, Debug)]
struct Question {
    place: usize,
    resource: String,
    role: usize,
    verb: &'static str,
}

#[tokio::test]
async fn every_role_may_do_exactly_what_the_matrix_says() {
    Scratch::run(async |ours| {
        Box::pin(Scratch::run(async |theirs| {
            let people = Members::of(&ours.tenant);
            let rights = people.rights(&ours.tenant, &ours.namespace);
            let operator = ours.admin.operator();
            for object in &rights {
                assert_accepted(&operator.create(object).await);
            }
            let rendered = matrix(ours, theirs, &people).await;
            for object in &rights {
                assert_accepted(&operator.delete(object).await);
            }
            compare(&rendered);
        }))
        .await;
    })
    .await;
}

/// The file as it is, or nothing when it is to be written anew.
fn golden() -> String {
    #[expect(clippy::disallowed_methods, reason = "the switch of a golden test")]
    if env::var("UPDATE_GOLDEN").is_ok() {
        return String::new();
    }
    fs::read_to_string(GOLDEN).unwrap()
}

fn compare(rendered: &str) {
    let golden = golden();
    if golden.is_empty() {
        fs::write(GOLDEN, rendered).unwrap();
        return;
    }
    let (expected, found): (BTreeSet<_>, BTreeSet<_>) =
        (golden.lines().collect(), rendered.lines().collect());
    let missing: Vec<_> = expected.difference(&found).collect();
    let new: Vec<_> = found.difference(&expected).collect();
    assert!(
        golden == rendered,
        "golden/access.txt says what is not so:\n{missing:#?}\nand does not say:\n{new:#?}"
    );
}

async fn matrix(ours: &Scratch, theirs: &Scratch, people: &Members) -> String {
    let place = |title, namespace: &str, name: &str| Place {
        title,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let places = [
        place("In the tenant's own namespace", &ours.namespace, ""),
        place(
            "With the Tenant itself, and what else bears its name",
            "",
            &ours.tenant,
        ),
        place("With another Tenant", "", &theirs.tenant),
        place("In the namespace of another tenant", &theirs.namespace, ""),
        place("In namespace cloister-system", "cloister-system", ""),
        place("In namespace kube-system", "kube-system", ""),
        place("In the whole cluster", "", ""),
    ];
    let roles = [&people.owner, &people.admin, &people.user];
    rights_are_known(&ours.admin, &places, roles).await;
    let golden = golden();
    let known: BTreeSet<&str> = golden
        .lines()
        .filter_map(|line| line.split("  ").next())
        .collect();
    let mut resources = discovered(&ours.admin).await;
    resources.extend(
        known
            .iter()
            .filter(|row| is_resource(row))
            .map(|&row| row.to_owned()),
    );
    resources.extend(CUSTOM.iter().map(|(resource, _)| (*resource).to_owned()));
    let allowed = ask(&ours.admin, &places, &resources, roles).await;
    render(&places, &resources, &allowed, |resource| {
        known.is_empty() || known.contains(resource)
    })
}

/// Rights are read from a cache that follows within moments.
async fn rights_are_known(admin: &Server, places: &[Place], roles: [&String; 3]) {
    let [owner, manager, user] = roles;
    let may = async |place: &Place, resource, role: &str, verb| {
        eventually(async || {
            let yes = review(admin, place, resource, role, verb).await;
            yes.then_some(())
                .ok_or_else(|| format!("{role} may not {verb} {resource}"))
        })
        .await;
    };
    for role in [owner, manager, user] {
        may(&places[0], "pods", role, "get").await;
        may(&places[1], "tenants.cloister.dev", role, "get").await;
    }
    for role in [owner, manager] {
        may(&places[1], "tenants.cloister.dev", role, "patch").await;
    }
}

fn is_resource(row: &str) -> bool {
    !row.is_empty() && !row.starts_with('#') && !row.contains(' ')
}

/// Whether a resource comes with Kubernetes or with Cloister. What else a cluster has is
/// looked at, but is no part of the file.
fn is_ours(resource: &str) -> bool {
    let group = resource
        .split('/')
        .next()
        .and_then(|name| name.split_once('.'));
    group.is_none_or(|(_, group)| {
        !group.contains('.') || group == "cloister.dev" || group.ends_with(".k8s.io")
    })
}

/// Every resource that the server has, as `resource.group/subresource`.
async fn discovered(admin: &Server) -> BTreeSet<String> {
    let get = async |path: &str| {
        let answer = admin
            .send(Method::GET, path, "application/json", &Value::Null)
            .await;
        answer.unwrap_or_else(|refusal| panic!("no discovery of {path}: {refusal}"))
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut versions = vec![("/api/v1".to_owned(), String::new())];
    for group in get("/apis").await["groups"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for version in group["versions"].as_array().into_iter().flatten() {
            versions.push((
                format!("/apis/{}", text(&version["groupVersion"])),
                text(&group["name"]),
            ));
        }
    }
    let mut found = BTreeSet::new();
    for (path, group) in versions {
        for resource in get(&path).await["resources"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name = text(&resource["name"]);
            let (resource, subresource) = name.split_once('/').unwrap_or((&name, ""));
            found.insert(spelled(resource, &group, subresource));
        }
    }
    assert!(
        found.len() > 100,
        "the server has more than {} resources",
        found.len()
    );
    found
}

fn spelled(resource: &str, group: &str, subresource: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{resource}{dot}{group}{slash}{subresource}")
}

fn verbs(resource: &str) -> Vec<&'static str> {
    let custom = CUSTOM
        .iter()
        .filter(|(name, _)| *name == resource)
        .flat_map(|(_, verbs)| *verbs);
    VERBS.iter().chain(custom).copied().collect()
}

/// Every question of the matrix, and those that are answered with yes.
async fn ask(
    admin: &Server,
    places: &[Place],
    resources: &BTreeSet<String>,
    roles: [&String; 3],
) -> Vec<Question> {
    let mut questions = Vec::new();
    for (place, resource) in
        (0..places.len()).flat_map(|place| resources.iter().map(move |r| (place, r)))
    {
        for (role, verb) in
            (0..roles.len()).flat_map(|role| verbs(resource).into_iter().map(move |v| (role, v)))
        {
            let resource = resource.clone();
            questions.push(Question {
                place,
                resource,
                role,
                verb,
            });
        }
    }
    let count = questions.len();
    let allowed: Vec<Question> = stream::iter(questions)
        .map(async |question| {
            let place = &places[question.place];
            let role = roles[question.role];
            let yes = review(admin, place, &question.resource, role, question.verb).await;
            yes.then_some(question)
        })
        // In order, so that the verbs of a cell are in theirs.
        .buffered(64)
        .filter_map(async |answer| answer)
        .collect()
        .await;
    println!("{count} questions, {} answered with yes", allowed.len());
    allowed
}

/// Asks the server whether this user may.
async fn review(admin: &Server, place: &Place, resource: &str, user: &str, verb: &str) -> bool {
    let (name, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (name, group) = name.split_once('.').unwrap_or((name, ""));
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": ["system:authenticated"],
            "resourceAttributes": {
                "namespace": place.namespace, "name": place.name, "verb": verb,
                "group": group, "resource": name, "subresource": subresource,
            },
        },
    });
    let answer = admin.create(&question).await;
    answer.unwrap_or_else(|refusal| panic!("no answer: {refusal}"))["status"]["allowed"]
        == json!(true)
}

fn render(
    places: &[Place],
    resources: &BTreeSet<String>,
    allowed: &[Question],
    is_known: impl Fn(&str) -> bool,
) -> String {
    let mut may: BTreeMap<(usize, &str, usize), Vec<&str>> = BTreeMap::new();
    for question in allowed {
        let key = (question.place, question.resource.as_str(), question.role);
        may.entry(key).or_default().push(question.verb);
    }
    let mut text = HEADER.to_owned();
    for (index, place) in places.iter().enumerate() {
        write!(text, "\n# {}\n", place.title).unwrap();
        writeln!(text, "{}", row("# RESOURCE", ["OWNER", "ADMIN", "USER"])).unwrap();
        for resource in resources {
            let line = [0, 1, 2].map(|role| match may.get(&(index, resource.as_str(), role)) {
                Some(verbs) => verbs.join(" "),
                None => "-".to_owned(),
            });
            let nothing = line.iter().all(|cell| cell == "-");
            // The first table is whole; the others say what there is.
            if !nothing || index == 0 && is_ours(resource) && is_known(resource) {
                writeln!(
                    text,
                    "{}",
                    row(resource, line.each_ref().map(String::as_str))
                )
                .unwrap();
            }
        }
    }
    text
}

fn row(resource: &str, [owner, admin, user]: [&str; 3]) -> String {
    format!("{resource:<64}  {owner:<41}  {admin:<41}  {user}")
}
