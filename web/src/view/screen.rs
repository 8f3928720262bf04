//! The screen in one language: the panels and their arrangement.

use super::{
    browser,
    charts::Charts,
    composer::Composer,
    connection_list::ConnectionList,
    dom::{El, document, el, expect_ok},
    header::Header,
    ladder_panel::LadderPanel,
    latency_panel::LatencyPanel,
    model::{Model, OPERATOR},
    operator_panel::OperatorPanel,
    sidebar::Sidebar,
    transcript_panel::TranscriptPanel,
    url_bar::UrlBar,
};
use crate::{i18n::Texts, redraw::earliest, time::Millis};

pub(super) struct Screen {
    header: Header,
    url_bar: UrlBar,
    sidebar: Sidebar,
    transcript: TranscriptPanel,
    ladder: LadderPanel,
    composer: Composer,
    latency: LatencyPanel,
    charts: Charts,
    connection_list: ConnectionList,
    operator: OperatorPanel,
    workbench: El,
    live_region: El,
    /// The title of the browser's tab.
    title: String,
}

impl Screen {
    pub(super) fn new(texts: &'static Texts) -> Screen {
        let screen = Screen {
            header: Header::new(texts),
            url_bar: UrlBar::new(texts),
            sidebar: Sidebar::new(texts),
            transcript: TranscriptPanel::new(texts),
            ladder: LadderPanel::new(texts),
            composer: Composer::new(texts),
            latency: LatencyPanel::new(texts),
            charts: Charts::new(texts),
            connection_list: ConnectionList::new(texts),
            operator: OperatorPanel::new(texts),
            workbench: el("div").id("workbench"),
            live_region: el("p").id("announcer").class("unseen").attr("role", "status"),
            title: String::new(),
        };
        let middle = el("div").class("main-column").attr("data-drop", "");
        let middle =
            middle.children([&screen.transcript.root, &screen.ladder.root, &screen.composer.root]);
        let rail =
            el("div").class("rail").children([&screen.sidebar.root, &screen.connection_list.root]);
        let meters =
            el("div").class("meters").children([&screen.latency.root, &screen.charts.root]);
        for part in [&screen.url_bar.root, &rail, &middle, &meters] {
            screen.workbench.append(part);
        }
        if let Some(page) = browser::element("page") {
            page.set_text_content(None);
            for child in [&screen.workbench, &screen.operator.root, &screen.live_region] {
                expect_ok(page.append_child(&child.node), "the page takes new children");
            }
        }
        screen
    }

    /// Draws what has changed; returns the time of the next drawing without an event.
    pub(super) fn draw(&mut self, model: &mut Model, now: Millis) -> Option<Millis> {
        let at_operator = browser::fragment() == OPERATOR;
        self.draw_title(model);
        self.header.draw(at_operator, model, &waiting(model));
        self.workbench.show(!at_operator);
        self.operator.root.show(at_operator);
        let panels = if at_operator {
            self.operator.draw(model, now)
        } else {
            self.draw_workbench(model, now)
        };
        earliest([panels, self.announce(model, now)])
    }

    /// Draws the title of the browser's tab, which is all that the user sees of a hidden page.
    pub(super) fn draw_title(&mut self, model: &mut Model) {
        let title = title(model);
        if title != self.title {
            document().set_title(&title);
            self.title = title;
        }
    }

    fn draw_workbench(&mut self, model: &mut Model, now: Millis) -> Option<Millis> {
        self.transcript.measure();
        self.url_bar.measure();
        let url_bar = self.url_bar.draw(model, now);
        self.sidebar.draw(model);
        self.composer.root.show(!model.connection().is_read_only());
        self.composer.draw(model, now);
        let latency = self.latency.draw(model, now);
        let charts = self.charts.draw(model, now);
        let connection_list = self.connection_list.draw(model, now);
        self.ladder.draw(model);
        // Last, because scrolling computes the layout of all changes before it.
        let is_settled = self.transcript.draw(model);
        let transcript = (!is_settled).then_some(now);
        earliest([url_bar, latency, charts, connection_list, transcript])
    }

    /// Writes a due announcement to the live region; returns the time of the next one.
    fn announce(&mut self, model: &mut Model, now: Millis) -> Option<Millis> {
        if let Some(mut sentence) = model.announcer.announce(model.texts, now) {
            // Screen readers read changes only: a repeated sentence has to differ.
            if self.live_region.node.text_content().as_ref() == Some(&sentence) {
                sentence.push('\u{a0}');
            }
            self.live_region.set_text(&sentence);
        }
        model.announcer.due()
    }
}

/// The number of conversations that wait for an answer, in parentheses; nothing if none does.
fn waiting(model: &Model) -> String {
    match model.operator.operator.waiting_count() {
        0 => String::new(),
        number => format!(" ({number})"),
    }
}

/// The title of the browser's tab: the state and the endpoint of the chosen connection, and the
/// number of conversations that wait.
fn title(model: &mut Model) -> String {
    let (texts, waiting) = (model.texts, waiting(model));
    if browser::fragment() == OPERATOR {
        return format!("{}{waiting} · echogate", texts.operator);
    }
    let connection = model.connection();
    let name = connection.source_name().unwrap_or(&connection.form.endpoint);
    format!("{name} · {} · echogate{waiting}", connection.headline(texts))
}
