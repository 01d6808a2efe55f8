package render

import (
	"testing"

	"paceline/loadgen/report"
)

func TestRecommendationFollowsFiguresAndSpread(t *testing.T) {
	one := repeats("1", "cold", 0, 20, 20.1, 20.2)
	cases := map[string]struct {
		runs [][]report.Run
		want string
	}{
		"of equal sizes the smallest": {
			[][]report.Run{one, repeats("8", "cold", 0, 10, 10.2, 10.4), repeats("16", "cold", 0, 10.1, 10.3, 9.9)},
			"batch sizes 8 and 16 can't be told apart (49.02 and 49.50 requests/s); take 8, the smallest",
		},
		"of sizes that vary too much to be told apart the smallest of the highest": {
			[][]report.Run{repeats("4", "cold", 0, 13, 10, 14), repeats("8", "cold", 0, 10, 13, 10), repeats("16", "cold", 0, 14, 9.9, 9.9)},
			"batch sizes 4, 8 and 16 can't be told apart (38.46, 50.00 and 50.51 requests/s), because their repeats vary; take 8, the",
		},
		"a real winner": {
			[][]report.Run{one, repeats("8", "cold", 0, 10, 10.2, 10.4)},
			"take batch size 8: 49.02 requests/s, and the repeats tell it apart from the next, 1 (24.88 requests/s).",
		},
		"a winner by very little": {
			[][]report.Run{repeats("8", "cold", 0, 10.1, 10.11, 10.12), repeats("16", "cold", 0, 10.0, 10.01, 10.02)},
			"batch sizes 8 and 16 can't be told apart (49.46 and 49.95 requests/s); take 8, the smallest",
		},
		"too few repeats": {
			[][]report.Run{repeats("1", "cold", 0, 20), repeats("8", "cold", 0, 10)},
			"batch size 8 has the highest figure, 50.00 requests/s, but there are not enough repeats",
		},
		"one size only":  {[][]report.Run{one}, "only batch size 1 has a figure"},
		"no size":        {[][]report.Run{repeats("unbatched", "cold", 0, 10, 10, 10)}, "nothing to recommend"},
		"batching costs": {[][]report.Run{one, repeats("unbatched", "cold", 0, 10, 10.1, 10.2)}, "here batching costs throughput"},
		"batching is no gain": {
			[][]report.Run{one, repeats("unbatched", "cold", 0, 19.9, 20.15, 20.3)},
			"these repeats show no gain from batching",
		},
		"batching gains": {
			[][]report.Run{one, repeats("unbatched", "cold", 0, 40, 40.1, 40.2)},
			"Against single calls (unbatched) that is +99.5 %.",
		},
		"the proxy's defaults are faster": {
			[][]report.Run{
				one, repeats("8", "cold", 0, 10, 10.1, 10.2), repeats("defaults", "cold", 0, 8, 8.1, 8.2),
				repeats("unbatched", "cold", 0, 20, 20.1, 20.2),
			},
			"keep the proxy's defaults: 61.73 requests/s, and the repeats tell them apart from batch size 8 (49.50 requests/s). " +
				"Against single calls (unbatched) that is +148.1 %. Of the sizes: take batch size 8: 49.50 requests/s",
		},
		"the proxy's defaults are no slower": {
			[][]report.Run{one, repeats("8", "cold", 0, 10, 10.1, 10.2), repeats("defaults", "cold", 0, 10.1, 10.15, 10.2)},
			"keep the proxy's defaults: 49.26 requests/s, not told apart from batch size 8",
		},
		"the proxy's defaults are slower": {
			[][]report.Run{one, repeats("8", "cold", 0, 10, 10.1, 10.2), repeats("defaults", "cold", 0, 12, 12.1, 12.2)},
			"Cold: take batch size 8: 49.50 requests/s",
		},
		"the proxy's defaults without enough repeats": {
			[][]report.Run{repeats("1", "cold", 0, 20), repeats("8", "cold", 0, 10), repeats("defaults", "cold", 0, 9)},
			"keep the proxy's defaults: 55.56 requests/s, without enough repeats to tell them from batch size 8 (50.00 requests/s)",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := of(c.runs...)
			contains(t, sectionOf(t, r, "recommendations"), c.want)
		})
	}
}

func TestAFasterModeDoesNotMakeTwoSizesAlike(t *testing.T) {
	r := of(
		repeats("unbatched", "cold", 0, 8, 10.05, 14), // so spread that it is told apart from nothing
		repeats("4", "cold", 0, 10.1, 10.12, 10.1),
		repeats("8", "cold", 0, 10.5, 10.5, 10.51),
		repeats("16", "cold", 0, 10.52, 10.5, 10.51), repeats("32", "cold", 0, 10.5, 10.51, 10.52),
	)
	contains(t, sectionOf(t, r, "recommendations"), "take batch size 4", "tell it apart from the next, 8")
}

func TestASizeThatAFasterModeLeavesBehindIsNotRecommended(t *testing.T) {
	r := of(
		repeats("unbatched", "cold", 0, 10, 10.01, 10.02),
		repeats("8", "cold", 0, 10.19, 10.18, 10.19),
		repeats("4", "cold", 0, 10.35, 10.36, 10.35),
	)
	contains(t, sectionOf(t, r, "recommendations"), "batch sizes 4 and 8 can't be told apart among themselves",
		"take 8, the smallest of rank 1")
}

func TestASizeIsNotPassedOverForNextToNothing(t *testing.T) {
	r := of(
		repeats("unbatched", "cold", 0, 14.600, 14.601, 14.602),
		repeats("16", "cold", 0, 14.600, 14.610, 14.630),
		repeats("8", "cold", 0, 14.610, 14.611, 14.620),
	)
	contains(t, sectionOf(t, r, "recommendations"), "batch sizes 8 and 16 can't be told apart",
		"take 8, the smallest: it needs", "Not told apart from single calls")
}

func TestPartialConclusionNamesWhatIsMissing(t *testing.T) {
	r := cutShort()
	contains(t, sectionOf(t, r, "recommendations"), "cold: 32, unbatched, direct; warm: 16, 32, unbatched, direct")
}

func TestNothingMeasuredIsSaid(t *testing.T) {
	r := of()
	r.Partial = true
	r.Config.Settings = []string{"1"}
	contains(t, sectionOf(t, r, "recommendations"), "Nothing was measured", "cold: 1; warm: 1")
}

func TestTheConclusionBeginsWithWhatWentWrong(t *testing.T) {
	r := of(repeats("8", "cold", 0, 10, 10, 10), repeats("4", "cold", 0, 5, 5, 5),
		[]report.Run{a(shape{setting: "16", phase: "cold", repeat: 1, wall: 5, completed: 200})})
	r.Runs[3].CachedTokens = r.Runs[3].PromptTokens + 1
	contains(t, sectionOf(t, r, "recommendations"),
		"\nThe server's token counts can't be true in cold 4 (1452501 cached of 1452500 prompt tokens). Such runs have no figure,",
		"\nMore than 1 % of the prompts failed or were dropped in cold 16 (60.0 %). Their figures are of the rest,",
		"\nCold: only batch size 8 has a figure")
	text, err := Chinese.text("warnings", figuresOf(r))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, text, "冷缓存 4（缓存命中 1452501 个 token，而提示词只有 1452500 个）", "失败或被丢弃的提示词超过 1 %：冷缓存 16（60.0 %）")
	lacks(t, markdownOf(t, r), "100.0 % |", "| 4 | 5.000 |")
}

func TestASettingIsNotSetAgainstItself(t *testing.T) {
	r := of(repeats("4", "cold", 0.4, 20, 20.1, 20.2), repeats("unbatched", "cold", 0.4, 10, 10.1, 10.2))
	text := markdownOf(t, r)
	contains(t, text, "start the proxy with `-mode unbatched`")
	lacks(t, text, "s with unbatched")
}
