package render

import (
	"testing"

	"paceline/loadgen/report/figures"
)

func TestNumbersAreWrittenForPeople(t *testing.T) {
	of := func(v, base float64) figures.Against {
		return figures.Against{Base: figures.Cell{Throughput: base}, Cell: figures.Cell{Throughput: v}}
	}
	for _, c := range []struct{ got, want string }{
		{plain(0.005), "0.005"},
		{plain(5), "5"},
		{English.change(of(108, 100)), "+8.0 %"},
		{English.change(of(99.99, 100)), "+0.0 %"},
		{English.change(of(90, 100)), "-10.0 %"},
		{English.change(of(1, 0)), "no figure"},
		{English.times(1.5), "1.50×"},
		{Chinese.times(0), "无数据"},
		{count(1, "run", "runs"), "1 run"},
		{count(int64(1234), "run", "runs"), "1,234 runs"},
		{signed(-1.5), "−1.50"},
		{figure(30.0), "30"},
		{figure(0.3100), "0.31"},
		{capital("über 8"), "Über 8"},
		{capital(""), ""},
		{Chinese.setting("16, 4 in flight, 0s"), "16，在途 4 批，0s"},
		{English.settings([]string{"1, 4 in flight", "defaults"}), "1, 4 in flight; defaults"},
		{Chinese.settings([]string{"1", "defaults"}), "1、defaults"},
		{cell("a|b\n c"), `a\|b c`},
		{cell(cell("a|b")), `a\|b`},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestSentencesOfAFileAreRecognised(t *testing.T) {
	for english, want := range map[string]string{
		"system prompt: our own; instance prompt: mine.txt; no chat template":                   "系统提示词：自带；任务提示词：mine.txt；无聊天模板",
		"system prompt: our own; instance prompt: our own; Qwen2.5 chat template":               "系统提示词：自带；任务提示词：自带；Qwen2.5 聊天模板",
		"NVIDIA H100 SXM (simulated)":                                                           "NVIDIA H100 SXM（模拟）",
		"something that nobody has written yet":                                                 "something that nobody has written yet",
		"as texts: SGLang's model folder can't be read from here, and -tokenizer names no file": "文本（此处无法读取 SGLang 的模型目录，-tokenizer 也未指定文件）",
	} {
		if got := Chinese.fromEnglish(english); got != want {
			t.Errorf("%q is %q, want %q", english, got, want)
		}
		if got := English.fromEnglish(english); got != english {
			t.Errorf("%q is %q in English", english, got)
		}
	}
}

func TestLanguagesAreNamedByTheirCodes(t *testing.T) {
	if l, err := Named("ZH"); err != nil || l != Chinese {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := Named("de"); err == nil || err.Error() != `must be en or zh, got "de"` {
		t.Error(err)
	}
}
