package render

import (
	"bytes"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/sglang/sim"
)

// telling are reports that between them say what reports say.
func telling(t *testing.T) map[string]report.Report {
	t.Helper()
	judged := full()
	h100, err := plausibility.DeviceNamed("h100")
	if err != nil {
		t.Fatal(err)
	}
	judged.Limits = &report.Limits{Device: h100, Model: plausibility.Qwen25of7B}
	profile, err := sim.ProfileNamed("h100-qwen2.5-7b")
	if err != nil {
		t.Fatal(err)
	}
	judged.Simulation.Origin = profile.Origin
	judged.Server.TextsSent = "as texts: SGLang's model folder can't be read from here, and -tokenizer names no file"

	odd := of(
		repeats("1", "cold", 0.1, 20, 20.1, 20.2),
		repeats("4", "cold", 0.1, 10, 10.1, 10.2),
		repeats("8", "cold", 0.1, 11, 12, 13, 14, 15),
		repeats("defaults", "cold", 0.9, 9, 9.1, 9.2),
		repeats("unbatched", "cold", 0.1, 9.9, 10.1, 10.3),
		repeats("direct", "cold", 0.1, 9.3, 9.4, 9.2),
		repeats("8", "warm", 0.2, 30, 30.1, 30.2),
		repeats("1", "warm", 0.2, 15, 15.5, 15.1),
	)
	odd.Source.SharedBytes, odd.Source.Turns, odd.Source.Rollouts, odd.Source.Requests, odd.Source.EnvScale = 600_000, 5, 3, 7000, 0.5
	odd.Server.TextsSent = "as token ids: SGLang's /tokenize agrees with tokenizer.json"
	for i := range odd.Runs {
		if odd.Runs[i].Setting == "4" {
			odd.Runs[i].EffectiveBatchSize = 3
			odd.Runs[i].ReleaseReasons = map[string]int{"wait": 9, "idle": 3, "deadline": 2, "budget": 1, "drain": 1, "age": 1}
		}
	}
	odd.Limits = &report.Limits{
		Device: plausibility.Device{Name: "h100", FLOPSPerSecond: 1e12, MemoryBytesPerSecond: 1, Count: 2},
		Model:  plausibility.Qwen25of7B,
	}
	cpu, forwards := 1e6, int64(77)
	odd.Runs[0].ProcessCPUSeconds, odd.Runs[0].ServerForwards = &cpu, &forwards
	swept := full()
	swept.Resumed = []time.Time{made.Add(time.Hour)}
	swept.Config.Repeats, swept.Config.StopWhen, swept.Config.Settings = 20, 0.02, []string{"1", "2"}
	swept.Config.Phases = []string{"warm"}
	sequences := int64(125)
	swept.Runs[0].ServerForwards, swept.Runs[0].ServerSequences = &forwards, &sequences
	joined := full()
	joined.Config.StopWhen = 0.5
	joined.Partial, joined.PartialReason = true, "interrupted"
	swept.Simulation, joined.Simulation = judged.Simulation, judged.Simulation
	ordered := dimensional()
	ordered.Config.Orders, ordered.Config.MaxWaitsSeconds = []string{"fifo", "prefix"}, []float64{0, 0.005}
	for i := range ordered.Runs {
		ordered.Runs[i].RequestThroughput = 30
	}
	recorded, spaced := offered(), offered()
	arrival := report.Arrival{Process: "recorded", TraceSpeed: 2, MostOutstanding: 100, WhenFull: "wait"}
	recorded.Config.Arrival, recorded.Source.Kind = &arrival, "trace"
	recorded.Source.Template = "words that mean nothing, one token each; no chat template"
	constant := report.Arrival{Process: "constant", Rate: 20, MostOutstanding: 100, WhenFull: "wait"}
	spaced.Config.Arrival = &constant
	spaced.Source.Rollouts = 8
	searched := found()
	searched.Partial, searched.PartialReason, searched.Runs = true, "interrupted", searched.Runs[:4]
	scored, generated := dimensional(), dimensional()
	scored.Config.Work, scored.Source.Kind, scored.Source.Questions, scored.Source.Template = "score", "states", 8, "random token ids"
	generated.Config.Work = "generate"
	for i := range generated.Runs {
		first := summary(8, 0.2)
		generated.Runs[i].TTFT, generated.Runs[i].OutputTokens = &first, 256
		scored.Runs[i].CachedUnknown = true
	}
	decided := of(repeats("16", "cold", 0.9, 2, 2.1, 2.2), repeats("direct", "cold", 0.4, 6, 6.1, 6.2))
	decided.Config.Work, decided.Source.Kind, decided.Source.Questions = "decide", "states", 8
	decided.Source.Template = "words that mean nothing, one token each; SGLang's own template"
	return map[string]report.Report{
		"scored": scored, "generated": generated, "decided": decided,
		"dimensions": dimensional(), "several orders": ordered, "the sweep": swept, "joined": joined,
		"open loop": offered(), "recorded": recorded, "spaced": spaced,
		"full": judged, "found": found(), "carded": carded(), "found cut short": searched, "cut short": cutShort(),
		"traced": traced(), "odd": odd, "empty": {},
		"only unbatched": of(repeats("unbatched", "cold", 0.44, 14.6, 14.7, 14.5)),
	}
}

var told struct {
	sync.Once
	figures map[string]figures.Figures
}

// toldFigures are those of the telling reports, with their requests.
func toldFigures(t *testing.T) map[string]figures.Figures {
	t.Helper()
	told.Do(func() {
		told.figures = map[string]figures.Figures{}
		for name, r := range telling(t) {
			told.figures[name] = figures.Of(r)
		}
	})
	return told.figures
}

// written is a report in every form for reading, as text.
func written(t *testing.T, f figures.Figures, l *Language) map[string]string {
	t.Helper()
	var markdown, terminal, page bytes.Buffer
	for _, err := range []error{WriteMarkdown(&markdown, f, l), WriteTerminal(&terminal, f, l), WriteHTML(&page, f, l)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{"report.md": markdown.String(), "terminal": terminal.String(), "report.html": visible(page.String())}
}

// visible is what of a page is read.
func visible(page string) string {
	_, body, _ := strings.Cut(page, "</head>")
	body = strings.NewReplacer("<code>", "`", "</code>", "`").Replace(body)
	return html.UnescapeString(tags.ReplaceAllString(body, "\n"))
}

var tags = regexp.MustCompile(`<[^>]*>`)

// untranslated are words that Chinese reports have as they are: names, units, what
// people type, and what the fixtures' data says.
var untranslated = regexp.MustCompile(strings.Join([]string{
	"`[^`]*`", `p99<500ms`, `-mode [a-z]+( -[a-z-]+ \S+)*`, `https?://\S+`, `\[[a-f0-9t]+\]`, // typed, linked
	`SGLang`, `R2E-Gym`, `Qwen[0-9.]+(-7B)?`, `TTFT`, `E2E`, `KV`, `CPU`, `prefill`, `goroutine`, `rollout`, `tokenizers`,
	`token( id)?`, `loadgen`, `env_exec_time`, `Direct`, `Defaults`, `Unbatched`, `UTC`,
	`defaults`, `unbatched`, `direct`, `fixed`, `Python`, `bfloat16`, `/tokenize`, `-tokenizer`, `OTEL_EXPORTER_OTLP_ENDPOINT`,
	`[GTP]FLOP(/s)?`, `GB`, `MB/s`, `µs`, `MHz`, `fcfs`, `fifo`, `prefix`, `#new-seq`,
	`full`, `wait`, `idle`, `deadline`, `budget`, `drain`, `age`, // release reasons as the contract has them
	`R2EGym-7B-Agent`, `NVIDIA H100 SXM`, `h100(-qwen2\.5-7b)?`, `cuda`, `go1\.26\.8`, `linux/amd64`, `0123456789ab`, // data of the fixtures
	`[a-z0-9|_]+\.(jsonl|json|md|log|txt|html)`, `repo-[0-9]`, `[at]{30,}.0|ffff|a{20,}[a-t]0`,
	`InvalidArgument|Canceled|Unavailable`, `parentbased_traceidratio`,
	`(?m)^0+[0-9a-f]{6,}$`, `instance-[0-9]+`, `the proxy was restarted midway`,
}, "|"))

func TestAChineseReportHasNoEnglishInIt(t *testing.T) {
	word := regexp.MustCompile(`[A-Za-z][A-Za-z]+(['\- ]+[A-Za-z]+)*`)
	for name, f := range toldFigures(t) {
		for form, text := range written(t, f, Chinese) {
			for line := range strings.Lines(text) {
				if !word.MatchString(line) {
					continue
				}
				if left := word.FindAllString(untranslated.ReplaceAllString(line, " "), -1); left != nil {
					t.Errorf("%s, %s: %q in %s", name, form, left, line)
				}
			}
		}
	}
}

func TestReportsSayTheSameNumbersInBothLanguages(t *testing.T) {
	for name, f := range toldFigures(t) {
		english, chinese := written(t, f, English), written(t, f, Chinese)
		for form := range english {
			if want, got := numbersIn(english[form]), numbersIn(chinese[form]); !maps.Equal(want, got) {
				for n := range want {
					if want[n] != got[n] {
						t.Errorf("%s, %s: %s stands %d times in English, %d in Chinese", name, form, n, want[n], got[n])
					}
				}
				for n := range got {
					if want[n] == 0 {
						t.Errorf("%s, %s: %s stands in Chinese only", name, form, n)
					}
				}
			}
		}
	}
}

var numerals = regexp.MustCompile(`\d[\d,]*(\.\d+)?`)

// numbersIn counts the numbers of a text.
func numbersIn(text string) map[string]int {
	count := map[string]int{}
	for _, n := range numerals.FindAllString(text, -1) {
		count[strings.TrimRight(n, ",")]++
	}
	return count
}

// TestTheSimulatorsProfilesSayInChineseWhereTheyComeFrom holds the sentences of
// another package against the catalogue.
func TestTheSimulatorsProfilesSayInChineseWhereTheyComeFrom(t *testing.T) {
	for _, p := range sim.Profiles() {
		if text := Chinese.fromEnglish(p.Origin); text == p.Origin {
			t.Errorf("chinese.go does not know the origin of %s: %q", p.Name, p.Origin)
		}
	}
}

// TestPageAndMarkdownSayTheSame holds what the page has beyond report.md to figures
// that stand in it.
func TestPageAndMarkdownSayTheSame(t *testing.T) {
	for name, f := range toldFigures(t) {
		texts := written(t, f, English)
		markdown := numbersIn(regexp.MustCompile(`\]\(http[^)]*\)`).ReplaceAllString(texts["report.md"], ""))
		page := numbersIn(texts["report.html"])
		for n, times := range markdown {
			if page[n] < min(times, 1) {
				t.Errorf("%s: the page lacks %s", name, n)
			}
		}
		var plots bytes.Buffer
		if err := WriteHTML(&plots, f, English); err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`<g class="point"><title>([^<]*)</title>`).FindAllStringSubmatch(plots.String(), -1) {
			said := html.UnescapeString(m[1])
			if strings.Contains(said, "P") {
				continue // medians of latencies, which stand by the run in report.md
			}
			for n := range numbersIn(said) {
				if markdown[n] == 0 && !strings.Contains(said, "[") { // an interval stands in the detail
					t.Errorf("%s: %q is drawn and %s is not in report.md", name, said, n)
				}
			}
		}
	}
}

func TestTermsOfTheField(t *testing.T) {
	text := written(t, figuresOf(full()), Chinese)["report.md"]
	for _, term := range []string{"吞吐量", "批大小", "首 token 延迟", "缓存命中", "t 检验", "冷缓存", "热缓存"} {
		if !strings.Contains(text, term) {
			t.Errorf("no word of %s", term)
		}
	}
	if !slices.Contains(strings.Split(text, "\n"), "# 不同批大小下的 prefill 吞吐量（模拟）") {
		t.Error(text[:200])
	}
}
