"""Pages of the console for Pub/Sub and Cloud Logging."""

import html
import re
from uuid import uuid4

from google import pubsub_v1
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
from google.cloud.logging_v2.types import LogEntry

from devenv.gcp import Cloud
from devenv.pytest_plugin import ActAs
from tests.unit.devenv.console.console import ConsoleClient


def test_message_is_published_looked_at_purged_and_sought(
    visitor: ConsoleClient, cloud: Cloud, act_as: ActAs
) -> None:
    act_as("admin")
    project, name = f"projects/{cloud.config.project}", f"console-{uuid4().hex}"
    topic, page = f"{project}/topics/{name}", f"/pubsub/subscriptions/{name}"
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        publisher.create_topic(name=topic)
        wanted = {"name": f"{project}/subscriptions/{name}", "topic": topic}
        subscriber.create_subscription(request=wanted | {"retain_acked_messages": True})
    fields = {"data": "<Grüße>", "attributes": "colour=green\nsize=1=2"}
    assert "published" in visitor.act(f"/pubsub/topics/{name}/publish", **fields)
    shown = html.unescape(visitor.get(page).text)
    copy = re.search(r'name="copy" value="([^"]*)"', visitor.get(page).text)
    assert copy
    again = visitor.act(f"/pubsub/topics/{name}/publish", copy=html.unescape(copy[1]), next=page)
    lacks = visitor.act(f"/pubsub/topics/{name}/publish", attributes="colour")
    visitor.act(f"{page}/purge")
    purged = visitor.get(page).text
    back = visitor.act(f"{page}/seek", time="2001-01-31T12:00")

    assert name in visitor.get("/pubsub").text
    assert f'href="{page}"' in visitor.get(f"/pubsub/topics/{name}").text
    assert "delivered again" in back
    assert "published" in again
    for text in ("<Grüße>", "green", "1=2", "1 not acknowledged, 0 of them delivered"):
        assert text in shown
    assert "No message waits" in purged
    assert "<Grüße>" in html.unescape(visitor.get(page).text)
    assert "is not name=value" in lacks
    assert "time is" in visitor.act(f"{page}/seek", time="soon")
    assert "fill in one" in visitor.act(f"{page}/seek")
    assert visitor.get("/pubsub/topics/missing-topic").status_code == 404


def test_log_page_filters_follows_and_links_to_the_trace(
    visitor: ConsoleClient, cloud: Cloud, act_as: ActAs
) -> None:
    act_as("admin")
    trace, log = uuid4().hex, f"console-{uuid4().hex}"
    name = f"projects/{cloud.config.project}/logs/{log}"
    entry = {"log_name": name, "resource": {"type": "global"}, "severity": "ERROR"}
    with_trace = entry | {"trace": f"projects/{cloud.config.project}/traces/{trace}"}
    query = {"filter": f'log_id("{log}")', "severity": "WARNING", "resource": "global"}
    with LoggingServiceV2Client() as client:
        payload = {"message": "first <line>\nof two", "user": "ann"}
        client.write_log_entries(entries=[LogEntry(with_trace | {"json_payload": payload})])
        page = visitor.get("/logs", params=query).text
        client.write_log_entries(entries=[LogEntry(entry | {"text_payload": "second"})])
    follow = re.search(r'hx-get="(/logs/new[^"]+)"', page)
    assert follow
    news = visitor.get(html.unescape(follow[1])).text

    assert "first &lt;line&gt; of two" in page
    assert f'href="/traces/{trace}"' in page
    assert "&#34;user&#34;: &#34;ann&#34;" in page
    assert "second" in news
    assert "first" not in news
    assert "No entry matches" in visitor.get("/logs", params=query | {"severity": "ALERT"}).text
    wrong = visitor.get("/logs?filter=severity>=")
    assert wrong.status_code == 400
    assert "syntax error" in wrong.text
