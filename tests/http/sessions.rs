//! Sessions of the web pages: the cookie, and requests that other pages make a browser send.

use super::client::{Api, json};
use conformance::api::http::Answer;

const ANN: &str = r#"{"username":"ann","password":"ann"}"#;

/// What the browser sends back of an answer's cookie.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").expect("there is a cookie");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/api"] {
        assert!(set.contains(attribute), "{set}");
    }
    set.split(';').next().expect("there is a first part").to_owned()
}

#[test]
fn a_cookie_stands_for_the_user_until_it_logs_out() {
    let api = Api::start();
    api.add_user("ann", "administrator");
    let opened = api.ask_with(("POST", "/api/session"), &[], Some(ANN));
    assert_eq!(opened.status, 204);
    let cookie = cookie(&opened);
    let whoami = || api.ask_with(("GET", "/api/whoami"), &[("Cookie", &cookie)], None);
    assert_eq!(json(&whoami())["name"], "ann");
    assert_eq!(api.ask_with(("DELETE", "/api/session"), &[("Cookie", &cookie)], None).status, 204);
    assert_eq!(whoami().status, 401);
}

#[test]
fn a_session_ends_with_the_password() {
    let api = Api::start();
    api.add_user("ann", "administrator");
    let cookie = cookie(&api.ask_with(("POST", "/api/session"), &[], Some(ANN)));
    api.check("PUT", "/api/users/ann", Some(r#"{"password":"other","tags":"administrator"}"#), 204);
    assert_eq!(api.ask_with(("GET", "/api/whoami"), &[("Cookie", &cookie)], None).status, 401);
    assert_eq!(api.ask_with(("POST", "/api/session"), &[], Some(ANN)).status, 401, "it is another one");
}

#[test]
fn who_may_not_use_the_api_gets_no_session() {
    let api = Api::start();
    api.add_user("ann", "");
    assert_eq!(api.ask_with(("POST", "/api/session"), &[], Some(ANN)).status, 401);
    for body in ["", "{}", "[1]", r#"{"username":"guest"}"#] {
        assert_eq!(api.ask_with(("POST", "/api/session"), &[], Some(body)).status, 400, "{body}");
    }
    let made_up = format!("leveret_session={}", "0".repeat(64));
    assert_eq!(api.ask_with(("GET", "/api/whoami"), &[("Cookie", &made_up)], None).status, 401);
}

/// A form of another page sends the cookie, and cannot set a header.
#[test]
fn a_change_by_cookie_alone_is_refused() {
    let api = Api::start();
    api.add_user("ann", "administrator");
    let cookie = cookie(&api.ask_with(("POST", "/api/session"), &[], Some(ANN)));
    let put = |headers: &[(&str, &str)]| {
        api.ask_with(("PUT", "/api/vhosts/v"), &[&[("Cookie", &*cookie)], headers].concat(), Some("{}"))
            .status
    };
    assert_eq!(put(&[]), 403);
    assert_eq!(put(&[("X-Requested-With", "XMLHttpRequest")]), 403);
    api.check("GET", "/api/vhosts/v", None, 404);
    assert_eq!(put(&[("X-Requested-With", "leveret")]), 201);
}
