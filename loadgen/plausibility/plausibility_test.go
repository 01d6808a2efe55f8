package plausibility

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func device(t testing.TB, name string) Device {
	d, err := DeviceNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheShapeOfQwen25Gives6Point5BillionParameters(t *testing.T) {
	if p := Qwen25of7B.Parameters; math.Abs(p/6.525e9-1) > 0.001 { // 7.62 billion less 2 × 152,064 × 3,584 of embeddings and vocabulary
		t.Errorf("%.4g", p)
	}
}

func TestWhatNoDeviceCanComputeIsImpossible(t *testing.T) {
	c := Claim{Prompts: 500, Seconds: 0.31, PromptTokens: 1_011_498, CachedTokens: 500 * 1267}
	for _, name := range []string{"a100", "h100", "h200"} {
		v := Judge(device(t, name), Qwen25of7B, c)
		if v.Kind != Impossible {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestACacheMakesPossibleWhatItHolds(t *testing.T) {
	h100 := device(t, "h100")
	c := Claim{Prompts: 500, Seconds: 5, PromptTokens: 1_457_998, CachedTokens: 1_450_000, Counted: true}
	if v := Judge(h100, Qwen25of7B, c); v.Kind != CacheAssisted || v.AllSeconds < 15 || v.FloorSeconds > 1 {
		t.Errorf("%+v", v)
	}
	c.CachedTokens = 0
	if v := Judge(h100, Qwen25of7B, c); v.Kind != Impossible {
		t.Errorf("%+v", v)
	}
	c.Seconds = 40
	if v := Judge(h100, Qwen25of7B, c); v.Kind != Plausible {
		t.Errorf("%+v", v)
	}
}

func TestMoreTimeFewerTokensOrMoreDevicesNeverMakeAClaimLessPlausible(t *testing.T) {
	order := map[Kind]int{Impossible: 0, CacheAssisted: 1, Plausible: 2}
	rapid.Check(t, func(t *rapid.T) {
		d := Device{
			Name:                 "d",
			FLOPSPerSecond:       rapid.Float64Range(1e12, 1e15).Draw(t, "flops"),
			MemoryBytesPerSecond: 1e12,
			Count:                rapid.IntRange(1, 8).Draw(t, "count"),
		}
		c := Claim{
			Prompts:      1 + rapid.IntRange(0, 1000).Draw(t, "prompts"),
			Seconds:      rapid.Float64Range(1e-3, 1e4).Draw(t, "seconds"),
			PromptTokens: rapid.Int64Range(0, 1e9).Draw(t, "tokens"),
			Counted:      true,
		}
		c.CachedTokens = rapid.Int64Range(0, c.PromptTokens).Draw(t, "cached")
		before := order[Judge(d, Qwen25of7B, c).Kind]
		slower, shorter, more := c, c, d
		slower.Seconds *= 2
		shorter.PromptTokens = c.PromptTokens/2 + c.CachedTokens/2
		more.Count *= 2
		for _, after := range []Verdict{Judge(d, Qwen25of7B, slower), Judge(d, Qwen25of7B, shorter), Judge(more, Qwen25of7B, c)} {
			if order[after.Kind] < before {
				t.Fatalf("%+v became %+v", c, after)
			}
		}
	})
}

func TestAModelIsReadFromItsConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"model_type":"qwen2","hidden_size":3584,"intermediate_size":18944,"num_hidden_layers":28,"num_attention_heads":28,
		"num_key_value_heads":4,"vocab_size":152064}`)
	m, err := ReadModel(path)
	if err != nil || m.Parameters != Qwen25of7B.Parameters || m.Name != "qwen2" {
		t.Errorf("%+v, %v", m, err)
	}
	write(`{"hidden_size":2048,"moe_intermediate_size":768,"num_experts":128,"num_experts_per_tok":8,"num_hidden_layers":48,
		"num_attention_heads":32,"num_key_value_heads":4,"head_dim":128}`)
	if m, err = ReadModel(path); err != nil || m.Parameters < 2e9 || m.Parameters > 3.5e9 { // Qwen3-30B-A3B
		t.Errorf("%+v, %v", m, err)
	}
	write(`{"hidden_size":3584}`)
	if _, err = ReadModel(path); err == nil || !strings.Contains(err.Error(), "num_hidden_layers: must be above 0") {
		t.Errorf("%v", err)
	}
}

func TestADeviceIsReadFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.json")
	for text, want := range map[string]string{
		`{"name":"mine","flops_per_second":1e12,"memory_bytes_per_second":1e11,"count":2}`: "",
		`{"name":"mine","flops_per_second":1e12}`:                                          "memory_bytes_per_second: must be above 0",
		`{"name":"mine","flops":1e12}`:                                                     `unknown field "flops"`,
		`{"flops_per_second":1e12}`:                                                        "name: must not be empty",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := DeviceNamed(path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := DeviceNamed("abacus"); err == nil || !strings.Contains(err.Error(), "a100, h100, h200") {
		t.Errorf("%v", err)
	}
}

func TestTablesOfManyKindsAreRead(t *testing.T) {
	for _, text := range []string{
		"1 0.55\n2 0.31\n", "1,0.55\n2,0.31", "batch size,time\n1,0.55\n2,0.31\n",
		"| batch | time (s) |\n|---|---|\n| 1 | 0.55 |\n| 2 | 0.31 s |\n", "1\t0.55s\n\n2\t0.31s\n",
	} {
		rows, err := ReadTable(strings.NewReader(text))
		if err != nil || len(rows) != 2 || rows[0] != (Row{"1", 0.55}) || rows[1] != (Row{"2", 0.31}) {
			t.Errorf("%q: %v, %v", text, rows, err)
		}
	}
	for text, want := range map[string]string{
		"":               "no row",
		"1 0.55\n2 fast": `line 2: the time must be a number of seconds, got "fast"`,
		"1 0.55\nword":   "line 2: must have a batch size and a time",
		"1 -3":           "line 1: the time must be above 0 s",
		"1 NaN":          "line 1: the time must be above 0",
		"1 Inf":          "line 1: the time must be above 0",
	} {
		if _, err := ReadTable(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzReadTable(f *testing.F) {
	for _, text := range []string{"1 0.55\n2 0.31\n", "| a | b |\n|---|---|\n| 1 | 0.5 s |", "1,1e308\n", "\xff,\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := ReadTable(strings.NewReader(text))
		if (err == nil) == (len(rows) == 0) {
			t.Fatalf("%v, %v", rows, err)
		}
		for _, r := range rows {
			v := Judge(devices[1], Qwen25of7B, Claim{Prompts: 500, Seconds: r.Seconds, PromptTokens: 1_000_000})
			if v.Kind == "" || !(r.Seconds > 0) {
				t.Fatalf("%+v %+v", r, v)
			}
		}
	})
}
