//! The rooms of `wire` together: what is encoded decodes, however it is cut into pieces, and
//! nothing that a peer may send breaks anything.

use super::encode::{self, Content, Delivery};
use super::frame::{self, FRAME_END, FRAME_MAX, FRAME_MIN, Kind};
use super::method::{self, Method};
use super::samples::{every_kind, every_method};
use super::{fields, header};
use crate::draw::{Draw, for_seeds};
use crate::message::{properties, table};
use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic};

const BODY: Content<'_> = Content {
    exchange: b"logs",
    routing_key: b"a.b",
    properties: &[0x18, 0, 2, 9],
    body: b"sixteen bytes...",
};

/// Every frame that `encode` makes, one after another.
fn every_frame() -> Vec<u8> {
    let mut out = Vec::new();
    for class in every_method() {
        encode::method(&mut out, 3, &class);
    }
    encode::heartbeat(&mut out);
    encode::ack(&mut out, 1, 5, true);
    encode::nack(&mut out, 1, 6, false, true);
    let delivery = Delivery { tag: 1, redelivered: true };
    encode::publish(&mut out, 9, FRAME_MIN, true, &BODY);
    encode::deliver(&mut out, 9, FRAME_MIN, b"tag", delivery, &BODY);
    encode::get_ok(&mut out, 9, FRAME_MIN, delivery, 77, &BODY);
    encode::basic_return(&mut out, 9, FRAME_MIN, 312, "NO_ROUTE", &BODY);
    out
}

/// Channel, kind and payload of all frames, which the input must consist of.
fn frames(mut input: &[u8], frame_max: u32) -> Vec<(u16, Kind, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((frame, taken)) = frame::decode(input, frame_max).unwrap() {
        frames.push((frame.channel, frame.kind, frame.payload.to_vec()));
        input = &input[taken..];
    }
    assert!(input.is_empty(), "{} bytes are left", input.len());
    frames
}

#[test]
fn methods_are_framed_as_amq_protocol_frames_them() {
    for class in every_method() {
        let mut ours = b"before".to_vec();
        encode::method(&mut ours, 258, &class);
        let frame = AMQPFrame::Method(258, class);
        let theirs = gen_frame(&frame)(WriteContext::from(Vec::new())).unwrap().into_inner().0;
        assert_eq!(ours, [b"before", theirs.as_slice()].concat());
    }
}

#[test]
fn frames_by_hand_are_read_by_amq_protocol() {
    let out = every_frame();
    let mut rest = out.as_slice();
    let mut read = Vec::new();
    while !rest.is_empty() {
        let (after, frame) = parse_frame(rest).unwrap();
        read.push(frame);
        rest = after;
    }
    let by_hand = &read[every_method().len()..];
    assert_eq!(by_hand[0], AMQPFrame::Heartbeat);
    let basic = |channel, method| AMQPFrame::Method(channel, AMQPClass::Basic(method));
    let ack = basic::Ack { delivery_tag: 5, multiple: true };
    let nack = basic::Nack { delivery_tag: 6, multiple: false, requeue: true };
    assert_eq!(by_hand[1], basic(1, basic::AMQPMethod::Ack(ack)));
    assert_eq!(by_hand[2], basic(1, basic::AMQPMethod::Nack(nack)));
    let methods = [
        basic::AMQPMethod::Publish(basic::Publish {
            exchange: "logs".into(),
            routing_key: "a.b".into(),
            mandatory: true,
            immediate: false,
        }),
        basic::AMQPMethod::Deliver(basic::Deliver {
            consumer_tag: "tag".into(),
            delivery_tag: 1,
            redelivered: true,
            exchange: "logs".into(),
            routing_key: "a.b".into(),
        }),
        basic::AMQPMethod::GetOk(basic::GetOk {
            delivery_tag: 1,
            redelivered: true,
            exchange: "logs".into(),
            routing_key: "a.b".into(),
            message_count: 77,
        }),
        basic::AMQPMethod::Return(basic::Return {
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
            exchange: "logs".into(),
            routing_key: "a.b".into(),
        }),
    ];
    assert_eq!(by_hand.len(), 3 + 3 * methods.len());
    let properties = basic::AMQPProperties::default().with_delivery_mode(2).with_priority(9);
    for (content, method) in by_hand[3..].chunks(3).zip(methods) {
        assert_eq!(content[0], basic(9, method));
        let AMQPFrame::Header(9, header) = &content[1] else { panic!("{:?}", content[1]) };
        assert_eq!((header.class_id, header.body_size), (60, 16));
        assert_eq!(header.properties, properties);
        assert_eq!(content[2], AMQPFrame::Body(9, BODY.body.to_vec()));
    }
}

/// However the bytes of a connection arrive, the same frames come of them.
#[test]
fn frames_cut_at_any_byte_are_the_same_frames() {
    let whole = every_frame();
    let expected = frames(&whole, FRAME_MIN);
    for cut in 0..whole.len() {
        let mut read = Vec::new();
        let mut from = 0;
        for end in [cut, whole.len()] {
            while let Some((frame, taken)) = frame::decode(&whole[from..end], FRAME_MIN).unwrap() {
                read.push((frame.channel, frame.kind, frame.payload.to_vec()));
                from += taken;
                assert!(from <= end, "cut at {cut}");
            }
        }
        assert!(read == expected, "cut at {cut}");
    }
}

#[test]
fn bodies_of_any_size_are_split_at_frame_max() {
    for frame_max in [FRAME_MIN, FRAME_MAX] {
        let part = encode::body_frame_max(frame_max);
        assert_eq!(part + 8, frame_max as usize);
        for len in [0, 1, part - 1, part, part + 1, 2 * part, 3 * part + 5] {
            let body: Vec<u8> = (0..=255).cycle().take(len).collect();
            check_body(frame_max, &body);
        }
    }
}

fn check_body(frame_max: u32, body: &[u8]) {
    let content = Content { body, ..BODY };
    let delivery = Delivery { tag: 1, redelivered: false };
    let mut delivered = Vec::new();
    encode::deliver(&mut delivered, 9, frame_max, b"tag", delivery, &content);
    let mut others = [Vec::new(), Vec::new(), Vec::new()];
    encode::publish(&mut others[0], 9, frame_max, false, &content);
    encode::get_ok(&mut others[1], 9, frame_max, delivery, 0, &content);
    encode::basic_return(&mut others[2], 9, frame_max, 312, "NO_ROUTE", &content);
    for out in [&delivered].into_iter().chain(&others) {
        // frame::decode tolerates 8 bytes more, so what is allowed is passed here without them.
        let frames = frames(out, frame_max - 8);
        assert!(frames.iter().all(|(channel, ..)| *channel == 9));
        assert_eq!(frames[0].1, Kind::Method);
        assert_eq!(frames[1].1, Kind::Header);
        let header = header::decode(&frames[1].2).unwrap();
        assert_eq!((header.body_size, header.raw), (body.len() as u64, BODY.properties));
        let parts = &frames[2..];
        assert!(parts.iter().all(|(_, kind, payload)| *kind == Kind::Body && !payload.is_empty()));
        assert_eq!(parts.len(), body.len().div_ceil(encode::body_frame_max(frame_max)));
        assert!(parts.iter().flat_map(|(.., payload)| payload).eq(body));
    }

    let mut in_parts = Vec::new();
    encode::deliver_head(&mut in_parts, 9, b"tag", delivery, &BODY, body.len() as u64);
    for part in body.chunks(encode::body_frame_max(frame_max)) {
        encode::body_frame_head(&mut in_parts, 9, u32::try_from(part.len()).unwrap());
        in_parts.extend_from_slice(part);
        in_parts.push(FRAME_END);
    }
    assert!(in_parts == delivered);
}

/// The longest names reserve enough: a second growth would be a second copy of everything that
/// waits.
#[test]
fn a_delivery_reserves_its_bytes_at_once() {
    let name = [b'n'; 255];
    let content = Content { exchange: &name, routing_key: &name, properties: &name, body: &[7; 300_000] };
    let delivery = Delivery { tag: u64::MAX, redelivered: true };
    let mut out = Vec::new();
    encode::deliver(&mut out, 9, FRAME_MIN, &name, delivery, &content);
    assert!(out.capacity() < out.len() + 64, "{} for {}", out.capacity(), out.len());
    let mut out = Vec::new();
    encode::get_ok(&mut out, 9, FRAME_MIN, delivery, u32::MAX, &content);
    assert!(out.capacity() < out.len() + 64, "{} for {}", out.capacity(), out.len());
}

/// Reads all there is to read as a session would, up to the first fault; says how many frames
/// decoded.
fn read_all(mut input: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Some((frame, taken))) = frame::decode(input, FRAME_MIN) {
        assert!(taken <= input.len());
        input = &input[taken..];
        count += 1;
        let payload = frame.payload;
        let _ = method::ids(payload);
        if let Ok(Method::Other(class)) = method::decode(payload) {
            assert_eq!((class.get_amqp_class_id(), class.get_amqp_method_id()), method::ids(payload));
        }
        let _ = table::get(payload, b"x-match");
        let _ = properties::delivery_mode(payload);
        assert_eq!(table::decode(payload).is_ok(), table::check(payload).is_ok());
        if let Ok(header) = header::decode(payload)
            && header.class == header::BASIC
        {
            let decoded = properties::decode(header.raw).expect("a checked header decodes");
            assert_eq!(properties::delivery_mode(header.raw), decoded.delivery_mode.unwrap_or(1));
            table::decode(decoded.headers.unwrap_or_default()).expect("checked headers decode");
        }
    }
    count
}

fn octet(draw: &mut Draw) -> u8 {
    u8::try_from(draw.below(256)).unwrap()
}

#[test]
fn garbage_is_refused_or_read_but_never_breaks_anything() {
    for_seeds(|draw| {
        for _ in 0..2000 {
            // A valid frame around garbage, so that the garbage reaches what is behind the framing.
            let len = draw.index(200);
            let mut input = vec![1 + octet(draw) % 3, 0, 1, 0, 0, 0, u8::try_from(len).unwrap()];
            input.extend((0..len).map(|_| octet(draw)));
            input.push(FRAME_END);
            assert_eq!(read_all(&input), 1);
            let bare: Vec<u8> = (0..len).map(|_| octet(draw)).collect();
            read_all(&bare);
            let _ = frame::protocol_header(&bare);
        }
    });
}

#[test]
fn damaged_frames_are_refused_or_read_but_never_break_anything() {
    let whole = every_frame();
    let mut with_headers = Vec::new();
    let mut headers = Vec::new();
    table::encode(&fields::read(&every_kind()), &mut headers);
    let sample = properties::Properties { headers: Some(&headers), ..Default::default() };
    properties::encode(&sample, &mut with_headers);
    let content = Content { properties: &with_headers, ..BODY };
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut rest = whole.as_slice();
    while let Some((_, taken)) = frame::decode(rest, FRAME_MIN).unwrap() {
        pieces.push(rest[..taken].to_vec());
        rest = &rest[taken..];
    }
    let mut publish = Vec::new();
    encode::publish(&mut publish, 1, FRAME_MIN, false, &content);
    pieces.push(publish);
    for_seeds(|draw| {
        for piece in &pieces {
            for _ in 0..100 {
                let mut damaged = piece.clone();
                for _ in 0..=draw.index(3) {
                    // Mostly behind the head, so that the frame itself stays whole.
                    let at = if draw.index(8) == 0 { 0 } else { 7.min(damaged.len() - 1) };
                    let at = at + draw.index(damaged.len() - at);
                    damaged[at] = match draw.index(3) {
                        0 => 0xff,
                        1 => damaged[at] ^ (1 << draw.index(8)),
                        _ => octet(draw),
                    };
                }
                read_all(&damaged);
                damaged.truncate(draw.index(damaged.len()));
                read_all(&damaged);
            }
        }
    });
}
