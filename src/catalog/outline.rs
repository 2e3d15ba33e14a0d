//! The catalog as people read it: what there is, with the expressions as they are written.

use std::time::Duration;

use serde::Serialize;

use super::{
    Catalog, Settings,
    explain::one_line,
    expression::Expression,
    query::Query,
    rule::{AudienceRule, Rule},
    vocabulary::Returns,
};

/// Everything that a catalog declares, in its order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outline {
    pub rules: Vec<RuleOutline>,
    pub lookups: Vec<LookupOutline>,
    pub schedules: Vec<ScheduleOutline>,
    pub waiting: Vec<WaitingOutline>,
    pub rooms: Vec<RoomOutline>,
    pub settings: Settings,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleOutline {
    pub name: String,
    /// The event that clients hear; `None` for a rule that writes notifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The kind of notification that it writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    pub table: String,
    pub on: Vec<crate::change::Op>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lookups: Vec<LookupCallOutline>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    pub to: Vec<AudienceOutline>,
}

/// `holders = { use = "cart_holders", key = "row.id" }`
#[derive(Debug, Serialize)]
pub struct LookupCallOutline {
    pub name: String,
    #[serde(rename = "use")]
    pub lookup: String,
    pub key: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AudienceOutline {
    pub rooms: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// Which columns' new values it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// Keys with their expressions, its own or the rule's.
    pub data: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
pub struct LookupOutline {
    pub name: String,
    /// `one` or `many`
    pub returns: &'static str,
    /// The first that the database can run is used.
    pub sql: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct ScheduleOutline {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The table that its rows are for rules.
    pub table: String,
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// The kind of room that it is run for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<String>,
    pub sql: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct WaitingOutline {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The kind of room.
    pub rooms: String,
    pub sql: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct RoomOutline {
    pub room: String,
    /// `None`: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
    /// `join:product {productId}`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Catalog {
    pub fn outline(&self) -> Outline {
        Outline {
            rules: self.rules.iter().map(|rule| self.rule_outline(rule)).collect(),
            lookups: self
                .lookups
                .iter()
                .map(|lookup| LookupOutline {
                    name: lookup.name.clone(),
                    returns: match lookup.returns {
                        Returns::One => "one",
                        Returns::Many => "many",
                    },
                    sql: forms(&lookup.query),
                })
                .collect(),
            schedules: self
                .schedules
                .iter()
                .map(|schedule| ScheduleOutline {
                    name: schedule.name.clone(),
                    about: schedule.about.clone(),
                    table: schedule.table().to_string(),
                    every: schedule.every,
                    rooms: schedule.rooms.clone(),
                    sql: forms(&schedule.query),
                })
                .collect(),
            waiting: self
                .waiting
                .iter()
                .map(|list| WaitingOutline {
                    name: list.name.clone(),
                    about: list.about.clone(),
                    rooms: list.rooms.clone(),
                    sql: forms(&list.query),
                })
                .collect(),
            rooms: self
                .rooms
                .kinds()
                .map(|kind| RoomOutline {
                    room: kind.pattern.clone(),
                    join: kind.join.as_ref().map(text),
                    own: kind.own.as_ref().map(text),
                    message: kind.message.as_ref().map(|message| match &message.key {
                        Some(key) => format!("join:{} {{{key}}}", message.name),
                        None => format!("join:{}", message.name),
                    }),
                })
                .collect(),
            settings: self.settings.clone(),
        }
    }

    fn rule_outline(&self, rule: &Rule) -> RuleOutline {
        let made = |inbox: bool| (rule.inbox == inbox).then(|| rule.event.to_string());
        let calls = rule.lookups.iter().map(|call| LookupCallOutline {
            name: call.name.clone(),
            lookup: self.lookups[call.lookup].name.clone(),
            key: text(&call.key),
        });
        RuleOutline {
            name: rule.name.to_string(),
            event: made(false),
            inbox: made(true),
            about: rule.about.clone(),
            table: rule.table.to_string(),
            on: rule.on.clone(),
            changed: rule.changed.iter().flatten().map(|column| column.to_string()).collect(),
            when: rule.when.as_ref().map(text),
            per: rule.per.as_ref().map(text),
            lookups: calls.collect(),
            actor: rule.actor.as_ref().map(text),
            to: rule.to.iter().map(|audience| audience_outline(rule, audience)).collect(),
        }
    }
}

fn audience_outline(rule: &Rule, audience: &AudienceRule) -> AudienceOutline {
    let data = audience.data.as_ref().unwrap_or(&rule.data).iter();
    AudienceOutline {
        rooms: audience.rooms.iter().map(|template| template.source()).collect(),
        when: audience.when.as_ref().map(text),
        each: audience.each.map(|place| rule.lookups[place].name.clone()),
        changes: audience.changes.as_ref().map(|changes| changes.outline()),
        data: data.map(|(key, expression)| (key.to_string(), text(expression))).collect(),
    }
}

fn text(expression: &Expression) -> String {
    one_line(expression.source())
}

fn forms(query: &Query) -> Vec<String> {
    query.forms().map(str::to_owned).collect()
}
