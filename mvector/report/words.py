"""The report's language: English, or Chinese by a catalogue of every text that the page says."""

# How each number was computed, in a sentence or two, in the order of the page.
METHOD = {
    "EER": (
        "The equal error rate: the error rate where false acceptances (FAR) and false rejections (FRR) are equal, "
        "linearly interpolated between successive distinct scores. Tied scores pass a threshold together."
    ),
    "minDCF": (
        "The lowest detection cost over all thresholds, p·FRR + (1 − p)·FAR with costs of 1, divided by min(p, 1 − p) "
        "as NIST does, so that a system which decides without listening has 1. Other toolkits do not divide; their "
        "numbers are up to 100 times smaller."
    ),
    "FRR at a FAR": (
        "The false rejection rate at the lowest threshold whose false acceptance rate is not above the stated one. "
        "With fewer than 30 expected false acceptances it is not measurable (rule of 30)."
    ),
    "actDCF": (
        "The detection cost at the threshold that Bayes' rule gives for calibrated log-likelihood ratios, log((1 − "
        "p)/p): the cost one pays in use, never below minDCF."
    ),
    "Cllr": (
        "The cost of the log-likelihood ratios over all applications, in bits (Brümmer and du Preez 2006): 0 is "
        "perfect, 1 is no information; above 1 the ratios mislead."
    ),
    "min Cllr": (
        "Cllr after the best monotone recalibration on these very trials (pool-adjacent-violators): what the scores "
        "could give."
    ),
    "Reliability": (
        "Trials are gathered by the probability that their log-likelihood ratio states at a prior of 0.5, targets and "
        "non-targets weighted alike; the share of targets among them should be that probability."
    ),
    "Areas": (
        "The area under the ROC curve is the chance that a target trial scores above a non-target trial. Average "
        "precision depends on the share of targets in the list, and accuracy does so too."
    ),
    "Interval": (
        "95 % bootstrap over speakers: speakers are drawn with replacement, a target trial of a speaker drawn w times "
        "counts w times, a non-target trial of speakers drawn v and w times counts v·w times. Intervals over trials "
        "would be far too narrow, because the trials of one speaker resemble each other."
    ),
    "Conditions": (
        "A trial counts with its worse side for duration and signal-to-noise ratio, else with its pair of values; a "
        "row needs at least 30 trials of each kind by at least 5 people. Errors are those at the report's threshold."
    ),
    "Worst cases": (
        "A recording stands at most once in a list of pairs, and two people at most twice. Goats, lambs and wolves "
        "after Doddington (1998), of speakers with at least 5 target or 30 non-target trials."
    ),
}


class Words:
    """`say("text {x}", x=1)`: the text in the page's language, its placeholders filled in."""

    def __init__(self, language: str) -> None:
        self._catalogue = CHINESE if language == "zh" else {}

    def __call__(self, text: str, **values: object) -> str:
        return self._catalogue.get(text, text).format(**values) if values else self._catalogue.get(text, text)

    def known(self, name: str) -> str:
        """The name of a condition or value in the page's language if it is one of ours, else as the user wrote it."""
        return self._catalogue.get(name, name)


CHINESE = {
    # headings
    "Speaker verification report": "说话人确认评估报告",
    "Warnings": "注意事项",
    "Curves": "曲线",
    "Operating points": "工作点",
    "Other metrics": "其他指标",
    "Also found": "另有结果",
    "Conditions": "分条件结果",
    "Worst cases": "最差的情况",
    "Model": "模型",
    "Data": "数据",
    "How each number was computed": "每个数字的计算方法",
    "Comparison of runs": "多次评估的比较",
    # charts
    "Detection error trade-off (DET)": "检测错误权衡曲线（DET）",
    "DET curve: false rejection rate over false acceptance rate": "DET 曲线：误拒率随误受率的变化",
    "FRR over FAR": "误拒率 FRR 随误受率 FAR 的变化",
    "false acceptance rate FAR (%)": "误受率 FAR（%）",
    "false rejection rate FRR (%)": "误拒率 FRR（%）",
    "false acceptance rate FAR": "误受率 FAR",
    "false rejection rate FRR": "误拒率 FRR",
    "95 % interval of the EER": "EER 的 95 % 置信区间",
    "at the FARs of the table": "表中各 FAR 的工作点",
    "minDCF points": "minDCF 的工作点",
    "stored threshold": "模型自带的阈值",
    "threshold of the EER": "EER 处的阈值",
    "Distribution of the scores": "分数分布",
    "score": "分数",
    "trials of the kind (% per bar)": "占该类试验的比例（每格 %）",
    "histograms of the scores of target and non-target trials": "目标试验与非目标试验的分数直方图",
    "target trials": "目标试验（同一人）",
    "non-target trials": "非目标试验（不同人）",
    "Error rates against the threshold": "错误率随阈值的变化",
    "error rate (%), logarithmic": "错误率（%），对数坐标",
    "threshold": "阈值",
    "false acceptance and false rejection rate against the threshold": "误受率与误拒率随阈值的变化",
    "Dashed curve: fewer than 30 errors.": "虚线部分：错误不足 30 个。",
    "Reliability": "可靠性",
    "probability stated (prior 0.5)": "所称概率（先验 0.5）",
    "share of targets found": "实际的目标比例",
    "reliability: share of targets found over probability stated": "可靠性：实际目标比例随所称概率的变化",
    "trials whose stated probability is about this": "所称概率在此附近的试验",
    "perfectly calibrated": "完全校准",
    "Under the diagonal the scores promise too much, above it too little; dots have at least 30 trials.": (
        "在对角线之下说明分数高估了概率，之上则低估；每个点至少含 30 次试验。"
    ),
    # operating points
    "operating point": "工作点",
    "result [95 % interval]": "结果 [95 % 置信区间]",
    "accept all": "全部接受",
    "FAR at most {far}": "FAR 不超过 {far}",
    "minDCF, p_target {p}": "minDCF（p_target 为 {p}）",
    "not measurable": "无法测量",
    "not measurable: needs {n} non-target trials": "无法测量：需要 {n} 次非目标试验",
    "{errors} of {total}": "{total} 次中有 {errors} 次",
    "A trial is accepted when its score is above the threshold. A count instead of a rate: fewer than 30 errors.": (
        "分数高于阈值即接受。只给次数而不给比率，说明错误不足 30 个。"
    ),
    # headline
    "FRR at FAR {far}": "FAR 为 {far} 时的 FRR",
    "{value} bits": "{value} 比特",
    "Speakers": "说话人",
    "unknown": "未知",
    "{targets} target, {others} non-target trials": "目标试验 {targets} 次，非目标试验 {others} 次",
    "In brackets: 95 % confidence intervals from drawing the speakers anew.": (
        "方括号内是对说话人重新抽样得到的 95 % 置信区间。"
    ),
    "Only {n} speakers: with fewer than {fewest} the true confidence intervals are wider than those shown.": (
        "只有 {n} 个说话人：少于 {fewest} 人时，真实的置信区间比这里显示的更宽。"
    ),
    "There are no confidence intervals: it is not known which speaker each trial belongs to, or there are too few "
    "speakers.": "没有置信区间：不知道每次试验属于哪个说话人，或者说话人太少。",
    # other metrics
    "metric": "指标",
    "value": "取值",
    "95 % interval": "95 % 置信区间",
    "Cllr (bits)": "Cllr（比特）",
    "min Cllr (bits)": "最小 Cllr（比特）",
    "calibration loss, Cllr − min Cllr (bits)": "校准损失，Cllr − 最小 Cllr（比特）",
    "area under the ROC curve": "ROC 曲线下面积",
    "average precision (precision-recall area)": "平均精确率（精确率—召回率曲线下面积）",
    "accuracy at threshold {threshold}": "阈值 {threshold} 处的准确率",
    # conditions
    "EER [95 % interval]": "EER [95 % 置信区间]",
    "FRR at threshold": "阈值处的 FRR",
    "FAR at threshold": "阈值处的 FAR",
    "target / non-target trials": "目标 / 非目标试验",
    "people": "人数",
    "no target trials": "没有目标试验",
    "no non-target trials": "没有非目标试验",
    "The bars are the EER with its 95 % interval, on one scale in all tables.": (
        "横条为 EER 及其 95 % 置信区间，各表使用同一刻度。"
    ),
    "too few people: needs {n}": "人数太少：至少需要 {n} 人",
    "too few trials: needs {n} of each kind": "试验太少：每类至少需要 {n} 次",
    "duration": "时长",
    "snr": "信噪比",
    "gender": "性别",
    "age": "年龄",
    "same": "相同",
    "different": "不同",
    "None were given. A metadata file (path or speaker in the first column) adds gender, age, recording or whatever it "
    "holds.": "没有给出条件。提供一个元数据文件（第一列为 path 或 speaker），就能按性别、年龄、录音等任意列分别统计。",
    "So many trials are counted in bins of scores, not kept one by one; conditions and worst cases need a smaller "
    "list.": ("试验太多，分数按区间计数而没有逐个保留；要分条件统计和查看最差情况，请用较小的列表。"),
    # worst cases
    "They were not looked for.": "没有查找。",
    "Errors at threshold {threshold}; go and listen.": "按阈值 {threshold} 判断的错误；请去听一听这些录音。",
    "Goats: often rejected as themselves": "山羊：本人常被拒绝",
    "Lambs: others are often accepted as them": "羔羊：别人常被误认成他们",
    "Wolves: often accepted as others": "狼：常被误认成别人",
    "No speaker with trials enough has an error at this threshold.": "在这个阈值下，试验足够多的说话人都没有错误。",
    "Different people with the highest scores": "分数最高的不同人的录音",
    "One person with the lowest scores": "分数最低的同一人的录音",
    "speaker": "说话人",
    "speakers": "说话人",
    "errors": "错误",
    "a recording": "其中一段录音",
    "verdict": "判断",
    "wrongly accepted": "误受",
    "wrongly rejected": "误拒",
    "right": "正确",
    "and {n} more": "另有 {n} 个",
    "enrolled": "注册录音",
    "tested": "测试录音",
    # comparison
    "Runs": "各次评估",
    "run": "评估",
    "trials": "试验数",
    "Differences from the first run": "与第一次评估的差别",
    "difference [95 % interval]": "差别 [95 % 置信区间]",
    "p-value": "p 值",
    "{difference} percentage points [{low}, {high}]": "{difference} 个百分点 [{low}, {high}]",
    "larger than chance, better": "超出偶然，更好",
    "larger than chance, worse": "超出偶然，更差",
    "may be chance": "可能是偶然",
    "too few speakers to tell": "说话人太少，无法判断",
    "On the {n} trials that all runs scored ({targets} target, {others} non-target, {people} speakers).": (
        "基于各次评估共有的 {n} 次试验（目标 {targets} 次，非目标 {others} 次，说话人 {people} 个）。"
    ),
    "The runs did not score the same trials: only those that all of them scored are compared.": (
        "各次评估的试验不完全相同：只比较它们共有的试验。"
    ),
    "{run}: {n} of its {given} trials": "{run}：它的 {given} 次试验中的 {n} 次",
    "Only {n} speakers: with fewer than {fewest} no difference can be certified.": (
        "只有 {n} 个说话人：少于 {fewest} 人时，无法认定任何差别。"
    ),
    "Each run is compared with the first by a paired bootstrap: speakers are drawn with replacement, and both runs are "
    "measured on the same drawn speakers. A difference counts as larger than chance when its 95 % interval leaves out "
    "zero and its p-value, corrected for the number of runs (Holm 1979), is below 0.05.": (
        "每次评估都与第一次用成对自助抽样比较：有放回地抽取说话人，两次评估都在同样的说话人上计算。"
        "差别的 95 % 区间不含零，并且按评估次数校正（Holm 1979）后的 p 值低于 0.05，才算超出偶然。"
    ),
    # files
    "Beside this page: report.json (everything), conditions.csv, worst_pairs.csv, worst_speakers.csv, det.csv, "
    "thresholds.csv, and scores.npz for tools/compare_runs.py.": (
        "与本页同一文件夹：report.json（全部内容）、conditions.csv、worst_pairs.csv、worst_speakers.csv、det.csv、"
        "thresholds.csv，以及供 tools/compare_runs.py 使用的 scores.npz。"
    ),
    # how it was computed
    "EER": "等错误率 EER",
    "minDCF": "最小检测代价 minDCF",
    "FRR at a FAR": "给定 FAR 时的 FRR",
    "actDCF": "实际检测代价 actDCF",
    "Cllr": "对数似然比代价 Cllr",
    "min Cllr": "最小 Cllr",
    "Areas": "曲线下面积与准确率",
    "Interval": "置信区间",
    METHOD["EER"]: "误受率 FAR 与误拒率 FRR 相等时的错误率，在相邻的不同分数之间线性插值。相同的分数同时通过阈值。",
    METHOD["minDCF"]: (
        "所有阈值中最低的检测代价：p·FRR + (1 − p)·FAR，两种代价均为 1，再像 NIST 那样除以 min(p, 1 − p)，"
        "因此不听声音就作判断的系统为 1。有的工具不作这一除法，数值最多会小 100 倍。"
    ),
    METHOD["FRR at a FAR"]: "误受率不超过给定值的最低阈值处的误拒率。预期的误受不足 30 次时无法测量（“30 次法则”）。",
    METHOD["actDCF"]: (
        "按贝叶斯准则对校准后的对数似然比取阈值 log((1 − p)/p) 时的检测代价：实际使用中付出的代价，不会低于 minDCF。"
    ),
    METHOD["Cllr"]: (
        "对数似然比在各种应用下的总代价，单位为比特（Brümmer 与 du Preez 2006）：0 为完美，1 为没有信息，"
        "大于 1 则会误导。"
    ),
    METHOD["min Cllr"]: "在这些试验上作最佳单调重新校准（PAV 算法）之后的 Cllr：分数本身所能达到的水平。",
    METHOD["Reliability"]: (
        "按对数似然比在先验 0.5 下所称的概率把试验分组，目标与非目标试验权重相同；组内目标试验的比例应等于所称的概率。"
    ),
    METHOD["Areas"]: (
        "ROC 曲线下面积是目标试验的分数高于非目标试验的概率。平均精确率取决于列表中目标试验的比例，准确率也是如此。"
    ),
    METHOD["Interval"]: (
        "对说话人作 95 % 自助抽样：有放回地抽取说话人，被抽中 w 次的说话人的目标试验计 w 次，"
        "被抽中 v 次和 w 次的两人之间的非目标试验计 v·w 次。"
        "同一个人的试验彼此相似，按试验抽样得到的区间会窄得多，不可信。"
    ),
    METHOD["Conditions"]: (
        "时长和信噪比按试验中较差的一方归类，其他条件按两方取值的组合归类；每行至少需要每类 30 次试验和 5 个人。"
        "错误按本报告的阈值判断。"
    ),
    METHOD["Worst cases"]: (
        "每段录音在一张录音对列表中最多出现一次，同样两个人最多出现两次。山羊、羔羊、狼的说法出自 Doddington（1998），"
        "只统计至少有 5 次目标试验或 30 次非目标试验的说话人。"
    ),
}
