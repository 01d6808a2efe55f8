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
	_, err := DeviceNamed("abacus")
	if err == nil || !strings.Contains(err.Error(), "a100, h100, h200, b200, mi300x, several such as 8xh100") {
		t.Errorf("%v", err)
	}
}

func TestTablesOfManyKindsAreRead(t *testing.T) {
	for _, text := range []string{
		"1 0.55\n2 0.31\n", "1,0.55\n2,0.31", "batch size,time (s)\n1,0.55\n2,0.31\n", "\ufeffbatch size;seconds\n1;0.55\n2;0.31\n",
		"| batch | time (s) |\n|---|---|\n| 1 | 0.55 |\n| 2 | 0.31 s |\n", "1\t0.55s\n\n2\t310ms\n", "批大小,总耗时（毫秒）\n1,550\n2,310毫秒\n",
		"rank,batch_size,time_ms,p99 latency (s)\n2,1,550,9\n1,2,310,9\n",
	} {
		rows, err := ReadTable(strings.NewReader(text))
		if err != nil || len(rows) != 2 || rows[0] != (Row{Name: "1", Seconds: 0.55}) ||
			rows[1].Name != "2" || math.Abs(rows[1].Seconds-0.31) > 1e-12 {
			t.Errorf("%q: %v, %v", text, rows, err)
		}
	}
	for text, want := range map[string]Row{
		"batch,requests/s\n4,\"5.85\"":                             {},
		"batch,requests/s\n4,5.85":                                 {Name: "4", Rate: 5.85},
		"| batch | req/s |\n| 4 | **1,594.2 req/s** |":             {Name: "4", Rate: 1594.2},
		"batch,time for 80 prompts (s),prompts per second\n4,2,40": {Name: "4", Seconds: 2, Rate: 40, Prompts: 80},
	} {
		if rows, err := ReadTable(strings.NewReader(text)); (err == nil) != (want.Name != "") || err == nil && rows[0] != want {
			t.Errorf("%q: %v, %v", text, rows, err)
		}
	}
}

func TestWhatATableMeansIsNotGuessed(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "no row",
		"1 0.55\n2 fast":               `with its unit (s, ms, 秒, 毫秒), here or in the heading, got "fast"`,
		"1 0.55\nword":                 "line 2: expected 2 columns",
		"word":                         "line 1: must have a batch size and a time",
		"1 -3":                         `line 1: column "time": expected a time above 0`,
		"1 0.55\n2 NaN":                `line 2: column "time": expected a time above 0`,
		"1 0.5 7":                      "line 1: 3 columns without a heading: expected one with a batch size, a time",
		"batch,time\n1,0.55":           `line 2: column "time": expected a time above 0 with its unit`,
		"batch,time (parsecs)\n1,0.55": `line 2: column "time (parsecs)": expected a time`,
		"batch,time (s)\n1,550ms":      `line 2: column "time (s)": expected a time`,
		"batch,time (s),time (ms)\n":   `line 1: column "time (ms)": expected one column of this kind (time), found two`,
		"batch,throughput\n1,1600":     `line 1: column "throughput": not understood, expected a batch size`,
		"batch,mean latency (s)\n1,3":  "line 1: no column of times",
		"time (s),requests/s\n1,3":     "line 1: no column of batch sizes",
		"batch,requests/s\n1,0.5 s":    `line 2: column "requests/s": expected a number above 0, got "0.5 s"`,
		"batch,input tok/s\n1,11840":   "line 1: no column of times",
		"批大小,心情\n1,3":                  `line 1: column "心情": not understood`,
	} {
		if rows, err := ReadTable(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", text, rows, err)
		}
	}
}

func TestTablesOfOthersAreReadAsTheyAre(t *testing.T) {
	for file, want := range map[string]Row{
		"seed_table.md": {Name: "2", Seconds: 0.31, Rate: 1594.2, Prompts: 500}, "ms.csv": {Name: "1", Seconds: 0.55},
		"sglang_bench.md": {Name: "1", Rate: 5.85},
	} {
		f, err := os.Open(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := ReadTable(f)
		if _ = f.Close(); err != nil || rows[0] != want {
			t.Errorf("%s: %v, %v", file, rows, err)
		}
	}
}

// Published: 3.6 billion active of gpt-oss-20b, 12.9 of Mixtral, 7.2 of StarCoder2-7B, each with its embeddings
// or its vocabulary, which are left out here.
func TestActiveParametersOfPublishedModels(t *testing.T) {
	for file, want := range map[string]float64{"gpt-oss-20b.json": 3.03e9, "mixtral.json": 12.6e9, "starcoder2-7b.json": 6.95e9} {
		m, err := ReadModel(filepath.Join("testdata", file))
		if err != nil || math.Abs(m.Parameters/want-1) > 0.01 {
			t.Errorf("%s: %.4g, want %.4g, %v", file, m.Parameters, want, err)
		}
	}
}

func TestANestedAndAQuantizedConfigAreRead(t *testing.T) {
	const shape = `"hidden_size":3584,"intermediate_size":18944,"num_hidden_layers":28,"num_attention_heads":28,"num_key_value_heads":4`
	path := filepath.Join(t.TempDir(), "config.json")
	read := func(text string) (Model, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return ReadModel(path)
	}
	m, err := read(`{"model_type":"qwen2_5_vl","text_config":{` + shape + `},"quantization_config":{"quant_method":"fp8"}}`)
	if err != nil || m.Parameters != Qwen25of7B.Parameters || m.WeightBits != 8 || m.WeightBytes != m.Parameters {
		t.Errorf("%+v, %v", m, err)
	}
	c := Claim{Prompts: 500, Seconds: 10, PromptTokens: 1_000_000}
	half, whole := Judge(device(t, "h100"), m, c), Judge(device(t, "h100"), Qwen25of7B, c)
	a100 := device(t, "a100") // has no FP8
	if half.FloorSeconds > 0.51*whole.FloorSeconds || Judge(a100, m, c).FloorSeconds != Judge(a100, Qwen25of7B, c).FloorSeconds {
		t.Errorf("FP8 takes %v s, bfloat16 %v s", half.FloorSeconds, whole.FloorSeconds)
	}
	_, err = read(`{"model_type":"deepseek_v3","kv_lora_rank":512,` + shape + `}`)
	if err == nil || !strings.Contains(err.Error(), "kv_lora_rank: ") {
		t.Errorf("%v", err)
	}
	if _, err := read(`{"text_config":{"hidden_size":1}}`); err == nil || !strings.Contains(err.Error(), "text_config.num_hidden_layers: ") {
		t.Errorf("%v", err)
	}
	if _, err := read(`{"num_experts":8,` + shape + `}`); err == nil || !strings.Contains(err.Error(), "num_experts_per_tok: ") {
		t.Errorf("%v", err)
	}
	dense, err := read(`{` + shape + `}`)
	glm, err2 := read(`{"n_routed_experts":8,"num_experts_per_tok":1,"n_shared_experts":1,"moe_intermediate_size":9472,
		"first_k_dense_replace":3,` + shape + `}`)
	if err != nil || err2 != nil || math.Abs(glm.Parameters/dense.Parameters-1) > 1e-9 { // two halves of a dense layer
		t.Errorf("%v and %v, %v, %v", glm.Parameters, dense.Parameters, err, err2)
	}
}

func TestSeveralDevicesComputeAsOne(t *testing.T) {
	one, eight := device(t, "B200"), device(t, "8xb200")
	if eight.Count != 8 || eight.TFLOPS() != 8*one.TFLOPS() || eight.Label() != "8xb200" ||
		device(t, "mi300x").Count != 1 || device(t, "2xmi300x").Count != 2 {
		t.Errorf("%+v and %+v", one, eight)
	}
	for _, name := range []string{"0xh100", "-1xh100", "xh100", "8x", "8xabacus"} {
		if _, err := DeviceNamed(name); err == nil {
			t.Errorf("%s is a device", name)
		}
	}
}

func FuzzReadTable(f *testing.F) {
	for _, text := range []string{"1 0.55\n2 0.31\n", "| a | b |\n|---|---|\n| 1 | 0.5 s |", "1,1e308\n", "\xff,\x00",
		"batch,time (ms)\n1,5e-324\n", "批大小,条/秒\n1,3 条/秒\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := ReadTable(strings.NewReader(text))
		if (err == nil) == (len(rows) == 0) {
			t.Fatalf("%v, %v", rows, err)
		}
		for _, r := range rows {
			if !(r.Seconds > 0) && !(r.Rate > 0) || r.Seconds < 0 || r.Rate < 0 {
				t.Fatalf("%+v", r)
			}
		}
	})
}
