package phrase

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// verbs are what a format asks for, by argument: d, s, .1f.
func verbs(t *testing.T, format string) map[int]string {
	t.Helper()
	found := map[int]string{}
	next := 1
	for _, m := range regexp.MustCompile(`%([-+0-9.]*)(?:\[(\d+)\])?([a-zA-Z%])`).FindAllStringSubmatch(format, -1) {
		if m[3] == "%" {
			continue
		}
		if m[2] != "" {
			next, _ = strconv.Atoi(m[2])
		}
		if _, twice := found[next]; twice {
			t.Errorf("%q uses argument %d twice", format, next)
		}
		found[next] = m[1] + m[3]
		next++
	}
	return found
}

func TestATranslationTakesTheSameArgumentsAndHoldsTheSameDigits(t *testing.T) {
	digits := regexp.MustCompile(`\d[\d,.]*\d|\d`)
	bare := regexp.MustCompile(`%[-+0-9.]*(\[\d+\])?[a-zA-Z%]`)
	for english, text := range chinese {
		if want, got := verbs(t, english), verbs(t, text); !maps.Equal(want, got) {
			t.Errorf("%q takes %v, its translation %q takes %v", english, want, text, got)
		}
		want := slices.Sorted(slices.Values(digits.FindAllString(bare.ReplaceAllString(english, " "), -1)))
		got := slices.Sorted(slices.Values(digits.FindAllString(bare.ReplaceAllString(text, " "), -1)))
		if !slices.Equal(want, got) {
			t.Errorf("%q holds the numbers %v, its translation %q holds %v", english, want, text, got)
		}
		if strings.HasSuffix(english, ".") != strings.HasSuffix(text, "。") && !strings.HasSuffix(english, ".)") {
			t.Errorf("%q and %q do not both end a sentence", english, text)
		}
	}
}

func TestPhrasesComeOutInOneLanguage(t *testing.T) {
	inner := Say("told apart by the repeats")
	both := Sentences(Say("%s: %s", Say("cold"), inner), Phrase{}, Say("Steps: %s.", List(Names([]string{"4", "8", "16"}))))
	for l, want := range map[Language]string{
		English: "cold: told apart by the repeats Steps: 4, 8 and 16.",
		Chinese: "冷缓存：重复测量显示有显著差异逐级变化：4、8 和 16。",
	} {
		if got := both.In(l); got != want {
			t.Errorf("%s: %q, want %q", l, got, want)
		}
	}
}

func TestCountsDeclineInEnglishOnly(t *testing.T) {
	for n, want := range map[int][2]string{0: {"0 runs", "0 次运行"}, 1: {"1 run", "1 次运行"}, 1234: {"1,234 runs", "1,234 次运行"}} {
		p := Count(n, "%s run", "%s runs")
		if p.In(English) != want[0] || p.In(Chinese) != want[1] {
			t.Errorf("%d: %q, %q", n, p.In(English), p.In(Chinese))
		}
	}
}

func TestSentencesOfAFileAreRecognised(t *testing.T) {
	for english, want := range map[string]string{
		"system prompt: our own; instance prompt: mine.txt; no chat template":                   "系统提示词：自带；任务提示词：mine.txt；无聊天模板",
		"system prompt: our own; instance prompt: our own; Qwen2.5 chat template":               "系统提示词：自带；任务提示词：自带；Qwen2.5 聊天模板",
		"wall_seconds was not a finite number and is written as 0":                              "wall_seconds 不是有限数，记为 0",
		"NVIDIA H100 SXM (simulated)":                                                           "NVIDIA H100 SXM（模拟）",
		"something that nobody has written yet":                                                 "something that nobody has written yet",
		"as texts: SGLang's model folder can't be read from here, and -tokenizer names no file": "文本（此处无法读取 SGLang 的模型目录，-tokenizer 也未指定文件）",
	} {
		if got := Stored(english); got.In(Chinese) != want || got.In(English) != english {
			t.Errorf("%q is %q, want %q", english, got.In(Chinese), want)
		}
	}
	for _, format := range stored {
		if !Chinese.Translated(format) {
			t.Errorf("chinese.go lacks %q", format)
		}
	}
}

func TestLanguagesAreNamedByTheirCodes(t *testing.T) {
	if l, err := Named("ZH"); err != nil || l != Chinese || l.Tag() != "zh-Hans" {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := Named("de"); err == nil || err.Error() != `must be en or zh, got "de"` {
		t.Error(err)
	}
}
