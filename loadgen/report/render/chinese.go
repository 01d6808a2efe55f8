package render

import (
	"regexp"
	"strings"
	"sync"
)

// stored are sentences that results.json holds as they were written, in English, with
// their Chinese. %s stands for a word or for another such sentence.
var stored = [][2]string{
	{"system prompt: %s; instance prompt: %s; no chat template", "系统提示词：%s；任务提示词：%s；无聊天模板"},
	{"system prompt: %s; instance prompt: %s; %s chat template", "系统提示词：%s；任务提示词：%s；%s 聊天模板"},
	{"words that mean nothing, one token each; no chat template", "无意义的词，每词一个 token；无聊天模板"},
	{"our own", "自带"},
	{"the trajectories' own", "轨迹自带"},
	{"%s's", "%s 的"},
	{"interrupted", "被用户中断"},
	{"a turn before it failed", "前一轮失败"},
	{"%s was not a finite number and is written as 0", "%s 不是有限数，记为 0"},
	{"as token ids: SGLang's /tokenize agrees with %s", "token id（SGLang 的 /tokenize 与 %s 结果一致）"},
	{"as texts: %s", "文本（%s）"},
	{"no tokenizer is configured", "未配置分词器"},
	{"SGLang's model folder can't be read from here, and -tokenizer names no file", "此处无法读取 SGLang 的模型目录，-tokenizer 也未指定文件"},
	{"%s (simulated)", "%s（模拟）"},

	// Of merged shards: report.Merge.
	{"its %s shards all ran together for only %s % of its time by their clocks: the rest is less load than was asked for", "按各自的时钟，其 %s 个分片同时运行的时间只占 %s %：其余时间的负载低于要求"},
	{"a batch with requests of several shards counts once for each of them, because not all of their requests.jsonl were there", "含有多个分片请求的批在每个分片各计一次，因为 requests.jsonl 不齐全"},
	{"its percentiles are not told, because a shard's report has no histogram of them", "没有百分位数，因为有分片的报告不含直方图"},
	{"the requests of shard %s were more than %s bytes and stayed in its own requests.jsonl", "分片 %s 的请求记录超过 %s 字节，保留在它自己的 requests.jsonl 中"},
	{"%s runs not measured by all shards and left out", "%s 次运行并非所有分片都测到，未计入"},
	{"%s run not measured by all shards and left out", "%s 次运行并非所有分片都测到，未计入"},
	{"shard %s: %s", "分片 %s：%s"},

	// Where the simulator's profiles come from: packages sglang/sim and calibrate.
	{"estimated, not measured: 14.2 GFLOP a token at 798 TFLOP/s bfloat16 give 17.8 µs a token; tokenizing at 2.4 MB/s was measured with Python's tokenizers; 80 GB less the weights hold about 950,000 tokens of 57,344 bytes; the other times are assumed", "估算值，非实测：每个 token 14.2 GFLOP，按 bfloat16 798 TFLOP/s 计为每个 token 17.8 µs；分词速度 2.4 MB/s 用 Python 的 tokenizers 实测；80 GB 显存减去权重后约可容纳 950,000 个 57,344 字节的 token；其余时间为假设"},
	{"fitted by loadgen calibrate to SGLang 0.5.23 serving a tiny random model on 2 CPU cores (torch_native attention): the mean of two calibrations, before and after a sweep, of 170 and 102 calls of up to 2,048 tokens; whole calls are off by 13 and 12 % on average", "由 loadgen calibrate 拟合：SGLang 0.5.23 在 2 个 CPU 核上运行随机权重的微型模型（torch_native attention）；取扫描前后两次校准的平均，分别为 170 次和 102 次调用，每次最多 2,048 个 token；整次调用的误差平均为 13 % 和 12 %"},
	{"fitted to SGLang %s by %s calls, one at a time, of 1 to 16 prompts of up to %s tokens: whole calls are off by %s % on average, %s % at the worst", "拟合自 SGLang %s：共 %s 次调用，逐次进行，每次 1 至 16 条提示词，最多 %s 个 token；整次调用的误差平均 %s %，最大 %s %"},
}

// recognizers match the stored sentences, in their order.
var recognizers = sync.OnceValue(func() (all []*regexp.Regexp) {
	for _, s := range stored {
		all = append(all, regexp.MustCompile("^"+strings.ReplaceAll(regexp.QuoteMeta(s[0]), "%s", "(.+?)")+"$"))
	}
	return all
})

// fromEnglish writes a stored sentence in the language: as it is if nobody translated it.
func (l *Language) fromEnglish(english string) string {
	english = cell(english)
	if l.Code != "zh" {
		return english
	}
	for i, r := range recognizers() {
		if m := r.FindStringSubmatch(english); m != nil {
			text := stored[i][1]
			for _, part := range m[1:] {
				text = strings.Replace(text, "%s", l.fromEnglish(part), 1)
			}
			return text
		}
	}
	if first, rest, several := strings.Cut(english, "; "); several {
		return l.fromEnglish(first) + l.semicolon + l.fromEnglish(rest)
	}
	return english
}
