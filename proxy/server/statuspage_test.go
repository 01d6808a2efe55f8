package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/telemetry"
)

func TestTheAdminPageIsWholeAndGuarded(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Sources = map[string]string{"max-wait": "file"} })
	page := r.http("GET", r.AdminAddr()+"/", "")
	if page.code != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") ||
		!strings.Contains(page.header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Fatalf("%d %v", page.code, page.header)
	}
	if asset := regexp.MustCompile(`(src|href)=|url\(|@import|https?://`).FindString(
		strings.ReplaceAll(page.body, "http://www.w3.org/2000/svg", "")); asset != "" {
		t.Errorf("the page needs more than itself: %s", asset)
	}
	for _, path := range []string{"/", "/page.json"} {
		if got := r.http("GET", r.AdminAddr()+path, "", "Host", "evil.example"); got.code != 403 {
			t.Errorf("%s under another name: %d", path, got.code)
		}
		if got := r.http("GET", r.AdminAddr()+path, "", "Origin", "http://evil.example"); got.code != 403 {
			t.Errorf("%s for another site: %d", path, got.code)
		}
	}
	_ = r.http("PATCH", r.AdminAddr()+"/v1/admin/settings", `{"batch_size": 3}`)
	var data pageData
	if err := json.Unmarshal([]byte(r.http("GET", r.AdminAddr()+"/page.json", "").body), &data); err != nil || !data.Ready {
		t.Fatalf("%v, %+v", err, data)
	}
	found := map[string]string{}
	for _, s := range data.Settings {
		found[s.Name] = s.Value + " " + s.Source
	}
	for name, want := range map[string]string{"batch_size": "3 changed live", "max_wait": "200µs file", "mode": "fixed default"} {
		if found[name] != want {
			t.Errorf("%s: %q, want %q", name, found[name], want)
		}
	}
}

func TestThePagesDataAskForTheKeyOfAdmin(t *testing.T) {
	r, _, _ := keyed(t, "- {name: ops, key: "+adminKey+", admin: true}\n", func(c *Config) { c.Admin = "0.0.0.0:0" })
	for key, want := range map[string]int{"": 401, agentKey: 401, adminKey: 200} {
		if got := r.http("GET", r.AdminAddr()+"/page.json", "", "Authorization", "Bearer "+key); got.code != want {
			t.Errorf("%q: %d", key, got.code)
		}
	}
}

func TestTheHistoryKeepsFifteenMinutesOfRates(t *testing.T) {
	m, h := telemetry.NewMetrics("v"), new(history)
	at := time.Unix(1000, 0)
	h.add(sample{at, m.Totals(), 0})
	ctx := t.Context()
	for range 10 {
		m.Call(ctx, "m", time.Now().Add(-1500*time.Millisecond), nil)
	}
	m.Released("full", 4, 8, 0, 500)
	m.BatchEnded(ctx, time.Second, 0, 100, 25)
	h.add(sample{at.Add(5 * time.Second), m.Totals(), 7})
	points, sizes := h.points()
	p := points[0]
	if len(points) != 1 || p.Requests != 2 || *p.P50 != 1.5 || p.Waiting != 7 || p.Saved != 100 || *p.Cached != .25 || len(p.Errors) != 0 ||
		sizes.Count != 1 || sizes.Counts[1] != 0 || sizes.Counts[2] != 1 {
		t.Errorf("%+v, %+v", p, sizes)
	}
	m.Call(ctx, "m", time.Now(), fmt.Errorf("fails"))
	for i := range 200 {
		h.add(sample{at.Add(time.Duration(i+2) * 5 * time.Second), m.Totals(), 0})
	}
	points, sizes = h.points()
	if len(points) != 180 || sizes.Count != 0 || points[179].P50 != nil || points[179].Cached != nil {
		t.Errorf("%d points, %+v", len(points), points[179])
	}
	empty := telemetry.NewMetrics("v").Totals()
	if p := pointOf(sample{at, empty, 0}, sample{at.Add(time.Second), m.Totals(), 0}); p.Errors["gRPC UNKNOWN"] != 1 {
		t.Errorf("%+v", p)
	}
}

func TestTheHistoryCountsWholeErrorsHoweverLateASampleIs(t *testing.T) {
	m, h := telemetry.NewMetrics("v"), new(history)
	at := time.Unix(1000, 0)
	h.add(sample{at, m.Totals(), 0})
	for i := range 3 {
		m.Call(t.Context(), "m", time.Now(), fmt.Errorf("fails"))
		at = at.Add(historyStep + 61*time.Millisecond)
		h.add(sample{at, m.Totals(), 0})
		if points, _ := h.points(); points[i].Errors["gRPC UNKNOWN"] != 1 {
			t.Errorf("%+v", points[i])
		}
	}
}

// PACELINE_TEST_SCREENSHOTS names a folder for pictures of the page.
func TestTheAdminPageChangesAValueDrainsAndUndrainsInABrowser(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Version = "v1.2.3" })
	now := time.Now()
	for i := range 120 { // so that there is something to draw
		for n := range 20 + i%7 {
			r.Server.metrics.Call(t.Context(), "m", now.Add(-time.Duration(20+i+n*4)*time.Millisecond), nil)
		}
		if i%9 == 0 {
			r.Server.metrics.Call(t.Context(), "m", now, fmt.Errorf("fails"))
		}
		r.Server.metrics.Released("full", 1<<(i%6), 32, 0, 3000+i*10)
		r.Server.metrics.BatchEnded(t.Context(), time.Second, 0, 1000, 400+i)
		r.history.add(sample{now.Add(time.Duration(i-120) * historyStep), r.Server.metrics.Totals(), i % 13})
	}
	b := openBrowser(t, "http://"+r.AdminAddr()+"/")
	until := func(what, expression string) {
		t.Helper()
		await(t, what, func() bool { return b.eval(expression) == "true" })
	}
	until("it is ready", `document.querySelector("#state").textContent === "ready"`)
	if got := b.eval(`[...document.querySelectorAll("figcaption b")].map(e => e.textContent.trim()).join()`); got !=
		"Requests,Duration,Waiting,Saved by sharing,Cached share of prompt tokens,Batch sizes,Errors" {
		t.Error(got)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{390, 1200} {
			b.size(width, 900, scheme)
			if got := b.eval("document.documentElement.scrollWidth"); got != fmt.Sprint(width) {
				t.Errorf("the page is %s wide in %d", got, width)
			}
			if dir := os.Getenv("PACELINE_TEST_SCREENSHOTS"); dir != "" {
				shot := b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true})
				data, _ := base64.StdEncoding.DecodeString(shot["data"].(string))
				_ = os.WriteFile(fmt.Sprintf("%s/%s-%d.png", dir, scheme, width), data, 0o600)
			}
		}
	}
	set := func(name, value string) {
		b.eval(fmt.Sprintf(`{ const e = document.querySelector("#set-%s"); e.value = %q; e.dispatchEvent(new Event("input")) }`, name, value))
	}
	set("max_wait", "7ms")
	set("share", "off")
	b.eval(`document.querySelector("#apply").click()`)
	until("the value holds", `document.querySelector("#set-max_wait").nextSibling.textContent === "changed live"`)
	until("nothing is edited", `document.querySelectorAll(".edited").length === 0 && document.querySelector("#set-max_wait").value === "7ms"`)
	if s := r.up.Queue.Settings(); s.MaxWait != 7*time.Millisecond || s.Share.String() != "off" || s.BatchSize != 16 {
		t.Errorf("%+v", s)
	}
	set("batch_size", "0")
	b.eval(`document.querySelector("#apply").click()`)
	until("the error is shown", `/batch_size: must be from 1/.test(document.querySelector("#said").textContent)`)
	b.eval(`document.querySelector("#reset").click()`)
	b.eval(`document.querySelector("#flush").click()`)
	until("the cache is flushed", `document.querySelector("#said").textContent === "flush: done"`)

	b.eval(`document.querySelector("#drain").click()`)
	until("it asks first", `document.querySelector("#sure").open`)
	if r.readiness.now().draining {
		t.Error("drained without a confirmation")
	}
	b.eval(`document.querySelector("#yes").click()`)
	until("it drains", `/draining/.test(document.querySelector("#state").textContent)`)
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); err == nil {
		t.Error("a request was accepted")
	}
	until("undrain is possible", `!document.querySelector("#undrain").disabled`)
	b.eval(`document.querySelector("#undrain").click()`)
	until("it is ready again", `document.querySelector("#state").textContent === "ready"`)
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); err != nil {
		t.Error(err)
	}
}
