//! Sessions of the web pages: the cookie, and requests that other pages make a browser send.

use super::client::{Api, json, login};
use conformance::api::http::Answer;

const ANN: &str = r#"{"username":"ann","password":"ann"}"#;

/// What a page of another origin cannot send.
const GUARD: (&str, &str) = ("X-Requested-With", "leveret");

/// What the browser sends back of an answer's cookie.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").expect("there is a cookie");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/api"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Secure"), "a browser would not send it back without TLS: {set}");
    set.split(';').next().expect("there is a first part").to_owned()
}

#[test]
fn a_cookie_stands_for_the_user_until_it_logs_out() {
    let api = Api::start();
    api.add_user("ann", "administrator");
    let opened = api.ask_with(("POST", "/api/session"), &[GUARD], Some(ANN));
    assert_eq!(opened.status, 204);
    let cookie = cookie(&opened);
    let whoami = || api.ask_with(("GET", "/api/whoami"), &[("Cookie", &cookie)], None);
    assert_eq!(json(&whoami())["name"], "ann");
    assert_eq!(api.ask_with(("DELETE", "/api/session"), &[("Cookie", &cookie), GUARD], None).status, 204);
    assert_eq!(whoami().status, 401);
}

/// A page asks this first, and browsers tell their users of every 401.
#[test]
fn who_is_logged_in_is_told_without_a_401() {
    let api = Api::start();
    api.add_user("ann", "management,monitoring");
    api.add_user("bob", "");
    let ask = |headers: &[(&str, &str)]| api.ask_with(("GET", "/api/session"), headers, None);
    let (bob, wrong) = (login("bob", "bob"), login("ann", "wrong"));
    for nobody in [
        &[][..],
        &[("Cookie", "leveret_session=0")],
        &[("Authorization", &bob)],
        &[("Authorization", &wrong)],
        &[("Authorization", "Basic !")],
    ] {
        let answer = ask(nobody);
        assert_eq!((answer.status, answer.text()), (204, String::new()), "{nobody:?}");
    }
    let cookie = cookie(&api.ask_with(("POST", "/api/session"), &[GUARD], Some(ANN)));
    for known in [("Cookie", &*cookie), ("Authorization", &login("ann", "ann"))] {
        let answer = ask(&[known]);
        let ann = serde_json::json!({"name": "ann", "tags": ["management", "monitoring"]});
        assert_eq!((answer.status, json(&answer)), (200, ann));
    }
    api.check("DELETE", "/api/users/ann", None, 204);
    assert_eq!(ask(&[("Cookie", &cookie)]).status, 204);
}

/// Its dialog would come before the form of the page.
#[test]
fn a_browser_opens_no_dialog_for_a_page() {
    let api = Api::start();
    for (header, realm) in [
        (("X-Requested-With", "leveret"), None),
        (("Accept", "text/event-stream"), None),
        (("Accept", "text/html"), Some("Basic realm=\"RabbitMQ Management\"")),
    ] {
        let answer = api.ask_with(("GET", "/api/overview"), &[header], None);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, realm), "{header:?}");
    }
}

#[test]
fn a_session_ends_with_the_password() {
    let api = Api::start();
    api.add_user("ann", "administrator");
    let cookie = cookie(&api.ask_with(("POST", "/api/session"), &[GUARD], Some(ANN)));
    api.check("PUT", "/api/users/ann", Some(r#"{"password":"other","tags":"administrator"}"#), 204);
    assert_eq!(api.ask_with(("GET", "/api/whoami"), &[("Cookie", &cookie)], None).status, 401);
    assert_eq!(api.ask_with(("POST", "/api/session"), &[GUARD], Some(ANN)).status, 401, "it is another one");
}

#[test]
fn who_may_not_use_the_api_gets_no_session() {
    let api = Api::start();
    api.add_user("ann", "");
    assert_eq!(api.ask_with(("POST", "/api/session"), &[GUARD], Some(ANN)).status, 401);
    for body in ["", "{}", "[1]", r#"{"username":"guest"}"#] {
        assert_eq!(api.ask_with(("POST", "/api/session"), &[GUARD], Some(body)).status, 400, "{body}");
    }
    let made_up = format!("leveret_session={}", "0".repeat(64));
    assert_eq!(api.ask_with(("GET", "/api/whoami"), &[("Cookie", &made_up)], None).status, 401);
}

/// A form of another page sends the cookie, and cannot set a header.
#[test]
fn a_change_by_cookie_alone_is_refused() {
    let api = Api::start();
    api.add_user("ann", "administrator");
    let cookie = cookie(&api.ask_with(("POST", "/api/session"), &[GUARD], Some(ANN)));
    let put = |headers: &[(&str, &str)]| {
        api.ask_with(("PUT", "/api/vhosts/v"), &[&[("Cookie", &*cookie)], headers].concat(), Some("{}"))
            .status
    };
    assert_eq!(put(&[]), 403);
    assert_eq!(put(&[("X-Requested-With", "XMLHttpRequest")]), 403);
    api.check("GET", "/api/vhosts/v", None, 404);
    assert_eq!(put(&[GUARD]), 201);
}

/// It would have its user work as somebody else, or log out.
#[test]
fn a_page_of_another_origin_opens_and_ends_no_session() {
    let api = Api::start();
    api.add_user("ann", "administrator");
    let cookie = cookie(&api.ask_with(("POST", "/api/session"), &[GUARD], Some(ANN)));
    let foreign = [("Origin", "http://elsewhere.example"), ("Content-Type", "text/plain")];
    for body in [ANN, "{}", ""] {
        let opened = api.ask_with(("POST", "/api/session"), &foreign, Some(body));
        assert_eq!((opened.status, opened.header("set-cookie")), (403, None), "{body}");
    }
    let by_cookie = [&foreign[..], &[("Cookie", &*cookie)]].concat();
    let closed = api.ask_with(("DELETE", "/api/session"), &by_cookie, None);
    assert_eq!((closed.status, closed.header("set-cookie")), (403, None));
    assert_eq!(json(&closed)["reason"], "this request needs the header x-requested-with: leveret");
    assert_eq!(api.ask_with(("GET", "/api/whoami"), &[("Cookie", &cookie)], None).status, 200);
}
