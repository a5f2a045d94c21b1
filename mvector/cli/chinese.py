"""What the scripts say, in Chinese.

SCRIPTS    texts that the commands pass to `translate`, word for word; {placeholders} as in the English
SENTENCES  errors and warnings of the library, recognised in their finished form: a placeholder stands for any text,
           which is itself looked up again; a sentence that begins with a space may follow any other
ARGPARSE   words of Python's argparse
"""

SCRIPTS = {
    "{count} recordings cannot be read, {path} for one: --check --drop leaves them out.": (
        "有 {count} 个录音无法读取，例如 {path}：用 --check --drop 可以把它们排除。"
    ),
    "{corpus}: {count} sounds. Put into configs/augmentation.yml:": (
        "{corpus}：共 {count} 个声音文件。请写入 configs/augmentation.yml："
    ),
    "show the version": "显示版本号",
    "expected True or False, found {text}": "应为 True 或 False，实际为 {text}",
    # mvector
    "Commands": "命令",
    "mvector COMMAND --help tells more.": "每个命令的用法：mvector COMMAND --help",
    "train a model": "训练模型",
    "evaluate a model on trials": "在试验列表上评估模型",
    "choose a model's threshold on own recordings": "用自己的录音选择模型的阈值",
    "compare two recordings": "比较两段录音",
    "write a model for other runtimes": "导出模型，供其他运行环境使用",
    "make data lists from a corpus": "由语音数据集生成数据列表",
    "show the parts a configuration can name": "列出配置文件里可以使用的组件名称",
    "error": "错误",
    "stopped": "已中止",
    # options of several commands
    "auto, cpu, cuda[:n] or mps": "计算设备：auto、cpu、cuda[:n] 或 mps",
    "auto, cpu, cuda[:n] or mps; for an exported model auto, cpu or openvino": (
        "计算设备：auto、cpu、cuda[:n] 或 mps；导出的模型用 auto、cpu 或 openvino"
    ),
    "True or False; older form of --device": "True 或 False；--device 的旧写法",
    "override a configuration key, as in --set train_conf.max_epoch=10; may be repeated": (
        "覆盖一个配置项，例如 --set train_conf.max_epoch=10；可以多次使用"
    ),
    "model directory": "模型目录",
    "model directory, or an exported .onnx file (default: the small model that mvector carries)": (
        "模型目录，或导出的 .onnx 文件（默认：mvector 自带的小模型）"
    ),
    "model: the small one that mvector carries; docs/starter_model.md says how far to trust it": (
        "模型：mvector 自带的小模型；它的可信程度见 docs/starter_model.md"
    ),
    # robustness
    "speed that the recordings are played at, for the teacher of a distillation": "录音的播放速度（用于蒸馏的教师）",
    "Measure a model on test trials whose recordings are changed for the worse.": ("在录音质量变差的条件下测试模型。"),
    "trial lists (default: the test list of the model's configuration)": "试验列表（默认：模型配置里的测试列表）",
    "folder with recordings of noise (default: pink noise)": "噪声录音所在的文件夹（默认：粉红噪声）",
    "folder for the table, the picture and the JSON file": "保存表格、图和 JSON 文件的文件夹",
    "Robustness of {model}": "{model} 的鲁棒性",
    "table, picture and figures saved in {folder}": "表格、图和数据保存在 {folder}",
    "condition": "条件",
    # train
    "Train a speaker recognition model.": "训练说话人识别模型。",
    "configuration file": "配置文件",
    "augmentation file": "数据增强配置文件",
    "folder for models": "保存模型的文件夹",
    "folder for logs and curves": "保存日志和曲线图的文件夹",
    "last_model folder to go on from, or auto: the newest checkpoint, a new run where there is none": (
        "从这个 last_model 文件夹继续训练；auto：从最新的检查点继续，没有就重新开始"
    ),
    "The run in {folder} is complete: nothing is left to train.": "{folder} 中的训练已经完成，没有剩下要训练的内容。",
    "write N augmented examples as wav files into the log folder, to listen to": (
        "把 N 个增强后的训练样本写成 wav 文件放进日志文件夹，供试听"
    ),
    "model directory to start from": "以这个模型目录的权重为起点（微调）",
    "evaluate while training": "训练过程中是否评估",
    "Training stopped; everything is saved in {folder}.": "训练已停止，全部状态保存在 {folder}。",
    "Go on with:": "继续训练请运行：",
    "Best model: epoch {epoch}, EER {eer:.2f} %, threshold {threshold:.4f}, in {folder}": (
        "最佳模型：第 {epoch} 轮，EER {eer:.2f} %，阈值 {threshold:.4f}，保存在 {folder}"
    ),
    "Model saved in {folder}; it was not evaluated and has no threshold.": (
        "模型已保存在 {folder}；它没有经过评估，因此没有阈值。"
    ),
    "What to try next:": "接下来可以运行：",
    # eval
    "Evaluate a model on test trials.": "在测试试验上评估模型。",
    "take the test lists from this file, not from the model's own config": (
        "从这个配置文件读取测试列表，而不用模型自带的配置"
    ),
    "folder for DET, ROC and score pictures": "保存 DET、ROC 和分数分布图的文件夹",
    "file for the results (default: in the model)": "保存结果的文件（默认写在模型目录里）",
    "test": "测试",
    "at the stored threshold {threshold:.4f}: FRR {frr}, FAR {far}": (
        "按模型自带的阈值 {threshold:.4f}：误拒率 FRR {frr}，误受率 FAR {far}"
    ),
    "{errors} of {total}": "{total} 次中 {errors} 次",
    "so many scores are counted in bins: error rates and costs are exact to {bound:.1e}": (
        "分数太多，按区间计数：错误率和代价的误差不超过 {bound:.1e}"
    ),
    "packed embeddings of the calibration list, instead of the recordings": "校准列表已提取的声纹，代替录音",
    "packed embeddings of the list (tools/extract_embeddings.py), instead of the recordings": (
        "列表已提取的声纹（tools/extract_embeddings.py），代替录音"
    ),
    "calibration": "校准",
    "cosine, centred-cosine, z-norm, t-norm, s-norm, as-norm or plda": (
        "打分方法：cosine、centred-cosine、z-norm、t-norm、s-norm、as-norm 或 plda"
    ),
    "speakers of the cohort that as-norm looks at": "as-norm 使用的参照说话人个数",
    "how several utterances make one voice: mean, scores or concatenate": (
        "一个人的多条注册语音如何合并：mean（向量平均）、scores（分数平均）或 concatenate（拼接音频）"
    ),
    "packed embeddings of the test (tools/extract_embeddings.py), instead of the recordings": (
        "测试语音的声纹向量文件夹（tools/extract_embeddings.py 生成），代替录音"
    ),
    "packed embeddings of the training list, for the cohort or PLDA, which are stored with the model": (
        "训练列表的声纹向量文件夹，用来生成参照集或 PLDA，并存入模型目录"
    ),
    "other trials, of other speakers, to calibrate the scores on (default: the stored calibration)": (
        "另一份由其他说话人组成的试验列表，用来校准分数（默认用模型自带的校准）"
    ),
    "calibrate with the recordings' durations, magnitudes and cohort scores (--calibration_list)": (
        "校准时考虑录音的时长、向量长度和参照集得分（需要 --calibration_list）"
    ),
    "folder for a report: one HTML page, JSON and CSV": "保存评估报告的文件夹：一个 HTML 网页、JSON 和 CSV",
    "CSV or TSV file with a column path or speaker and others: figures by their values (--report)": (
        "CSV 或 TSV 文件，第一列为 path 或 speaker，其他列任意：报告中按其取值分别给出结果（--report）"
    ),
    "file for the score of every trial": "保存每条试验分数的文件",
    "{utterances:,} recordings, {left_out:,} of them unusable": "{utterances:,} 条录音，其中 {left_out:,} 条不可用",
    "scores saved in {path}": "分数保存在 {path}",
    "report saved in {path}": "报告保存在 {path}",
    "results saved in {path}": "结果保存在 {path}",
    "pictures saved in {path}": "图片保存在 {path}",
    # make_results
    "Evaluate models on test lists and write the table of the results into a document.": (
        "在测试列表上评估若干模型，并把结果表写入文档。"
    ),
    "model directories and their names": "模型目录及其名称",
    "test lists and their names": "测试列表及其名称",
    "ways of scoring, as eval.py takes them": "打分方法，与 eval.py 相同",
    "data list for the cohort of models that do not name one of their own": "未写明训练列表的模型所用参照集的数据列表",
    "Markdown file with the two marks to write between": "带有两个标记的 Markdown 文件，表格写在标记之间",
    # calibrate
    "Choose a model's threshold anew on your own recordings, and store it with the model.": (
        "用您自己的录音重新选择模型的阈值，并存入模型目录。"
    ),
    "your recordings, path<TAB>speaker in every line: 5 people with 4 recordings each, or more": (
        "您的录音列表，每行“路径<TAB>说话人”：至少 5 个人、每人 4 条录音"
    ),
    "folder that relative paths in the list start from": "列表中相对路径的起始文件夹",
    "keep this false acceptance rate, a fraction: 0.001 for 0.1 %%": "保持这个误受率，用小数表示：0.001 即 0.1 %%",
    "where both error rates are equal": "在误拒率与误受率相等处",
    "least cost if this share of comparisons are of one person (the default rule, with 0.5)": (
        "若有这个比例的比较是同一个人，取代价最小处（默认规则，比例为 0.5）"
    ),
    "cost of a false rejection, for --p_target": "误拒一次的代价，用于 --p_target",
    "cost of a false acceptance, for --p_target": "误受一次的代价，用于 --p_target",
    "embedding": "提取声纹向量",
    "{targets:,} target and {non_targets:,} non-target trials by {speakers:,} people": (
        "{speakers:,} 个人的 {targets:,} 条同人试验和 {non_targets:,} 条异人试验"
    ),
    "threshold so far {rates}": "原来的阈值 {rates}",
    "new threshold {rates}, chosen {rule}": "新的阈值 {rates}，选择方法：{rule}",
    "on people who had no part in the choice: FRR {frr:.2f} %, FAR {far:.2f} %": (
        "对没有参与选择阈值的人：误拒率 FRR {frr:.2f} %，误受率 FAR {far:.2f} %"
    ),
    "With fewer than 20 people the true intervals are wider than these (95 %, over people).": (
        "不足 20 个人时，真实的置信区间比这里给出的（95 %，按人抽样）更宽。"
    ),
    "A false acceptance rate below {least:.2g} % cannot be certified with these recordings; for {asked:g} % it takes "
    "{needed:,} non-target trials, about {speakers:,} people with as many recordings each.": (
        "这些录音无法证实低于 {least:.2g} % 的误受率；要证实 {asked:g} %，需要 {needed:,} 条异人试验，"
        "按每人同样多的录音算约 {speakers:,} 个人。"
    ),
    "stored in {path}": "已存入 {path}",
    # contrast
    "how probable one person was before anything was heard, for the probability (default 0.5)": (
        "听录音之前认为是同一个人的概率，用于计算概率（默认 0.5）"
    ),
    "stored with the model: chosen on {list} by mvector calibrate": "模型自带：由 mvector calibrate 在 {list} 上选出",
    "probability of one person {probability:.2f} % (prior {prior:g}; log-likelihood ratio {llr:+.2f})": (
        "是同一个人的概率 {probability:.2f} %（先验 {prior:g}；对数似然比 {llr:+.2f}）"
    ),
    "Compare two recordings: the same person or not?": "比较两段录音：是不是同一个人？",
    "the first recording": "第一段录音",
    "the second recording": "第二段录音",
    "cosine similarity above which the voices count as one (default: the one stored with the model)": (
        "余弦相似度高于这个阈值就判为同一个人（默认使用随模型保存的阈值）"
    ),
    "not needed: the model directory has its configuration": "不需要：模型目录里已有配置",
    "folder for pictures: each recording before and after cutting silence, and its spectrogram": (
        "保存图片的文件夹：每段录音去除静音前后的波形，以及语谱图"
    ),
    "recording {number}: {path}": "录音 {number}：{path}",
    "similarity {score:.4f}": "相似度 {score:.4f}",
    "This model has no threshold, so there is no verdict. Give one with --threshold.": (
        "这个模型没有阈值，无法给出结论。请用 --threshold 指定一个。"
    ),
    "threshold {threshold:.4f} ({origin})": "阈值 {threshold:.4f}（{origin}）",
    "the same person": "同一个人",
    "different people": "不是同一个人",
    "verdict: {answer}": "结论：{answer}",
    "warning: {text}": "注意：{text}",
    "given by --threshold": "由 --threshold 指定",
    "stored with the model": "随模型保存",
    "stored with the model: the equal error rate of its development trials {list}": (
        "随模型保存：取自开发集 {list} 上的等错误率点"
    ),
    # list
    "Show the parts that a configuration can name.": "列出配置文件里可以使用的组件名称。",
    "Features (preprocess_conf.feature_method)": "特征 (preprocess_conf.feature_method)",
    "Backbones (model_conf.model)": "主干网络 (model_conf.model)",
    "Poolings (model_conf.model_args.pooling_type)": "池化 (model_conf.model_args.pooling_type)",
    "Losses (loss_conf.loss)": "损失函数 (loss_conf.loss)",
    "Corpora (create_data.py --corpus)": "语音数据集 (create_data.py --corpus)",
    # export
    "Write a model for other runtimes.": "导出模型，供其他运行环境使用。",
    "kind of file": "文件类型",
    "one file from waveform to embedding; without it the file takes features": (
        "导出从波形到声纹向量的单个文件；不加此选项时，文件的输入是特征"
    ),
    "8-bit weights where the network bears them (ONNX only)": "在网络承受得住的地方使用 8 位权重（仅限 ONNX）",
    "file or folder to write (default: beside the model, model.onnx …)": (
        "要写入的文件或文件夹（默认写在模型目录里，如 model.onnx）"
    ),
    "model written to {path}": "模型已写入 {path}",
    "model written to {path} (ONNX opset {opset})": "模型已写入 {path}（ONNX opset {opset}）",
    "Compare two recordings with it, without torch:": "用它比较两段录音（不需要 torch）：",
    # import_checkpoint
    "Turn a published checkpoint into a model directory with that model's own features.": (
        "把公开发布的检查点文件转换成模型目录，并配上该模型自己的特征提取方式。"
    ),
    "presets (usual file name and page):": "预设（通常的文件名和发布页）：",
    "the checkpoint or its ONNX export, on this computer": "检查点文件或它导出的 ONNX 文件（本机上的）",
    "the model directory to write, models/NAME": "要写入的模型目录，如 models/NAME",
    "a published file by name, see below": "公开文件的预设名称，见下",
    "instead of a preset: mvector, 3dspeaker, wespeaker, speechbrain or resemblyzer": (
        "不用预设时给出：mvector、3dspeaker、wespeaker、speechbrain 或 resemblyzer"
    ),
    "the class name in the published implementation": "原实现中的类名",
    "its constructor's arguments, as in --arguments feat_dim=80 embedding_size=192": (
        "该类构造函数的参数，例如 --arguments feat_dim=80 embedding_size=192"
    ),
    "for a model.pth of the mvector package: the configuration it was trained with": (
        "用于 mvector 包的 model.pth：训练它时用的配置文件"
    ),
    "{folder}: {model}, {parameters} parameters, embeddings of {size} numbers": (
        "{folder}：{model}，{parameters} 个参数，声纹向量 {size} 维"
    ),
    "features: {features}": "特征：{features}",
    "licence: {licence}": "许可证：{licence}",
    "ask where the file comes from": "请查看文件的来源",
    "published at {page}": "发布页：{page}",
    "its publishers report: {result}": "发布者公布的结果：{result}",
    "Compare two recordings:": "比较两段录音：",
    "It has no threshold: give one with --threshold.": "它没有阈值：请用 --threshold 给出。",
    "It has no threshold. Measure one on trials of recordings like yours, and give it with --threshold:": (
        "它没有阈值。请用与您的录音相似的试验列表测出一个，再用 --threshold 给出："
    ),
    # extract_embeddings
    "Embed every recording of some lists into one folder; run again, it goes on.": (
        "把一些列表里的所有录音提取为声纹向量，存入一个文件夹；中断后再次运行会接着做。"
    ),
    "model directory, or an exported .onnx file": "模型目录，或导出的 .onnx 文件",
    "data lists or trial lists (default: the test lists of the model's configuration)": (
        "数据列表或试验列表（默认使用模型配置里的测试列表）"
    ),
    "the utterances of the enrolled speakers of a trial list": "试验列表中各注册说话人的语音（注册表）",
    "folder for the embeddings": "保存声纹向量的文件夹",
    "utterances embedded together on a GPU": "在 GPU 上一起计算的语音条数",
    "cut utterances after this time (seconds)": "语音超过这个时长（秒）的部分会被截去",
    "{rows:,} recordings embedded in {folder} ({failed:,} could not be)": (
        "已提取 {rows:,} 段录音的声纹向量，在 {folder}（其中 {failed:,} 段无法提取）"
    ),
    "the first that could not be: {reason}": "第一段无法提取的录音：{reason}",
    "{hours:.2f} hours of sound in {seconds:.1f} s, {speed:.0f} times real time": (
        "{hours:.2f} 小时的声音用时 {seconds:.1f} 秒，为实时速度的 {speed:.0f} 倍"
    ),
    # make_shards
    "Pack the recordings of a data list into tar files (shards); run again, it goes on.": (
        "把数据列表里的录音打包成 tar 文件（分片）；中断后再次运行会接着做。"
    ),
    "data list, or shards to be packed anew": "数据列表，或要重新打包的分片",
    "folder for the shards": "保存分片的文件夹",
    "folder that relative paths in it start from": "列表中相对路径的起始文件夹",
    "utterances in a shard (default: 1000)": "每个分片的语音条数（默认：1000）",
    "size of a shard, instead of a number of utterances": "每个分片的大小（MB），代替语音条数",
    "another order of the utterances (default: 0)": "随机种子，换一种语音顺序（默认：0）",
    "convert everything to 16 kHz mono (default: files as they are)": (
        "全部转换为 16 kHz 单声道（默认：文件保持原样）"
    ),
    "shards written at the same time (default: one per core)": "同时写入的分片数（默认：每个核一个）",
    "{utterances:,} utterances of {speakers:,} speakers, {hours:.2f} hours, in {shards:,} shards": (
        "{speakers:,} 个说话人的 {utterances:,} 条语音，共 {hours:.2f} 小时，打包成 {shards:,} 个分片"
    ),
    "left out: {count:,} recordings that cannot be used, see {report}": (
        "已排除 {count:,} 段不能使用的录音，详见 {report}"
    ),
    # extract_features
    "Compute the features of a training list ahead; run again, it goes on.": (
        "预先计算训练列表的特征；中断后再次运行会接着做。"
    ),
    "the configuration that will be trained": "训练时要用的配置文件",
    "data list or shards (default: its train_list)": "数据列表或分片（默认：配置里的 train_list）",
    "folder for the features": "保存特征的文件夹",
    "type of the numbers (default: float16, half the space)": "数值类型（默认：float16，占一半空间）",
    "{rows:,} recordings, {frames:,} frames in {folder} ({failed:,} without features)": (
        "{folder} 里有 {rows:,} 段录音的 {frames:,} 帧特征（其中 {failed:,} 段没有特征）"
    ),
    "the first without features: {reason}": "第一段没有特征的录音：{reason}",
    # profile_training
    "Say whether loading, features or the network limits a training, and what to change.": (
        "判断训练速度受限于数据读取、特征计算还是网络，并给出改进办法。"
    ),
    "batches that each part is timed on (default: 10)": "每个部分计时所用的批次数（默认：10）",
    "loading, features included": "数据读取（含特征）",
    "loading": "数据读取",
    "network": "网络",
    "network, features included": "网络（含特征）",
    "features on one core": "单核计算特征",
    "features": "特征",
    "all together": "合在一起",
    "{name}: {rate:.0f} utterances/s, {milliseconds:.0f} ms for a batch": (
        "{name}：每秒 {rate:.0f} 条语音，每批 {milliseconds:.0f} 毫秒"
    ),
    "the device waited for data {stall:.0%} of the time": "设备有 {stall:.0%} 的时间在等数据",
    "To make it quicker:": "可以这样加速：",
    # create_data
    """\
Makes the lists that training and evaluation read: train_list.txt, dev_list.txt, test_list.txt (path<TAB>speaker) and
the trials dev_trials.txt, test_trials.txt (1|0<TAB>enrollment<TAB>test).

Your own recordings, one folder per speaker:
  python create_data.py --corpus folder --root recordings
A public corpus, downloaded and unpacked:
  python create_data.py --corpus cnceleb1,cnceleb2 --root /data/CN-Celeb_flac,/data/CN-Celeb2_flac
Look for bad recordings in the lists that were made, and leave them out:
  python create_data.py --check --drop
Trials from any data list:
  python create_data.py --trials_from my_test_list.txt --targets 1000 --nontargets 10000
""": """\
生成训练和评估要读的列表：train_list.txt、dev_list.txt、test_list.txt（每行“路径<TAB>说话人”），
以及试验列表 dev_trials.txt、test_trials.txt（每行“1|0<TAB>注册语音<TAB>测试语音”）。

自己的录音，每个说话人一个文件夹：
  python create_data.py --corpus folder --root recordings
已经下载并解压的公开数据集：
  python create_data.py --corpus cnceleb1,cnceleb2 --root /data/CN-Celeb_flac,/data/CN-Celeb2_flac
检查生成的列表里有没有坏录音，并把它们剔除：
  python create_data.py --check --drop
由任意数据列表生成试验列表：
  python create_data.py --trials_from my_test_list.txt --targets 1000 --nontargets 10000
""",
    "corpora": "数据集",
    "what to read (one of these; none: the lists in --output)": "读取什么（选一个；都不给：--output 里的列表）",
    "names of corpora, with commas between them": "数据集名称，多个用逗号隔开",
    "the folder of each corpus, or one that holds all of them": "各数据集所在的文件夹，或包含它们的一个文件夹",
    "lists to check or convert, the training list first": "要检查或转换的列表，训练列表写在最前",
    "make trials from this data list": "由这个数据列表生成试验列表",
    "where to write": "写到哪里",
    "folder (default: dataset)": "文件夹（默认：dataset）",
    "how to divide": "如何划分",
    "verification: parts have different speakers; identification: the same speakers (default: verification)": (
        "verification：各部分说话人不同；identification：说话人相同（默认：verification）"
    ),
    "speakers to take from training for development: a number, or a share below 1 (default: 5 %%, 2 to 50 speakers, "
    "if the corpus has no development part)": (
        "从训练集中拿多少说话人做开发集：人数，或小于 1 的比例（默认：数据集没有开发集时取 5 %%，2 到 50 人）"
    ),
    "the same for test": "同上，用于测试集",
    "other draws of speakers and trials (default: 0)": "随机种子，换一组说话人和试验（默认：0）",
    "trials (official trial lists are used where a corpus has them)": "试验列表（数据集有官方列表时使用官方的）",
    "which official list, for example O-cleaned, E-cleaned or H-cleaned of VoxCeleb 1": (
        "使用哪个官方列表，例如 VoxCeleb 1 的 O-cleaned、E-cleaned 或 H-cleaned"
    ),
    "target trials: exactly so many (default: 10000 or all)": "同一人的试验，正好这么多（默认：10000，不足则全部）",
    "non-target trials: exactly so many (default: 20000 or all)": "不同人的试验，正好这么多（默认：20000，不足则全部）",
    "share of the non-target trials with two speakers of one sex (default: as it comes)": (
        "不同人的试验中两人同性别的比例（默认：不限定）"
    ),
    "with --trials_from: a file of speaker<TAB>m|f lines": "配合 --trials_from：每行“说话人<TAB>m|f”的文件",
    "what to do with the recordings": "对录音做什么",
    "decode all of them and write what is wrong into report.csv": "全部解码一遍，把有问题的写进 report.csv",
    "with --check: leave those out of the lists": "配合 --check：把有问题的从列表中剔除",
    "convert all of them once to 16 kHz mono; a run that was stopped goes on": (
        "全部转换为 16 kHz 单声道；中断后再次运行会接着做"
    ),
    "processes (default: one per core)": "进程数（默认：每个核一个）",
    "Next": "下一步",
    # compare_runs
    "Compare evaluations of the same test list.": "比较同一测试列表上的多次评估。",
    "a folder that eval.py --report wrote, or a text file of 'enroll test score target|nontarget'; every run is "
    "compared with the first": (
        "eval.py --report 写出的文件夹，或每行为“注册语音 测试语音 分数 target|nontarget”的文本文件；"
        "每次评估都与第一次比较"
    ),
    "folder for the page and the JSON file": "保存网页和 JSON 文件的文件夹",
    "error metrics by name, such as eer min_dcf_0.01 min_dcf_0.05 frr_at_far_0.001 min_cllr": (
        "错误指标的名称，例如 eer min_dcf_0.01 min_dcf_0.05 frr_at_far_0.001 min_cllr"
    ),
    "comparison written to {path}": "比较结果保存在 {path}",
    # moving enrolled people to another model
    "Move the enrolled people to another model: embed their recordings anew. Cut off and run again, it goes on.": (
        "把已注册的人转到另一个模型：重新提取其录音的声纹向量。中断后再次运行会接着做。"
    ),
    "the new model: its directory, or an .onnx file": "新模型：模型目录或 .onnx 文件",
    "folder of the enrolled people, or a postgresql:// address": "声纹库文件夹，或 postgresql:// 地址",
    "delete enrolled recordings that were not kept or that the new model cannot embed": (
        "删除没有保留录音、或新模型无法提取声纹向量的注册语音"
    ),
    "re-embedding": "重新提取声纹向量",
    "{people:,} people with {utterances:,} recordings now belong to the model {path}": (
        "{people:,} 人的 {utterances:,} 条注册语音现在属于模型 {path}"
    ),
    "{dropped:,} enrolled recordings were deleted": "已删除 {dropped:,} 条注册语音",
    # serve
    "answer over HTTP, with a web page": "通过 HTTP 提供服务，并带网页",
    "Enroll, verify and identify people over HTTP.": "通过 HTTP 注册、验证和识别说话人。",
    "where enrolled voices are: a folder, or postgresql://…": "已注册声音的位置：文件夹，或 postgresql://…",
    "score above which it counts as the same person (default: the model's)": "高于此分数视为同一人（默认用模型自带的）",
    "keep the recordings of enrolled people": "保存已注册的人的录音",
    "address to listen on (default 127.0.0.1: this computer only)": "监听的地址（默认 127.0.0.1：只限本机）",
    "port to listen on (default 8000)": "监听的端口（默认 8000）",
    "processes that answer (default 1)": "提供服务的进程数（默认 1）",
    "file of API keys; more may be in the environment's MVECTOR_API_KEYS": (
        "API 密钥文件；环境变量 MVECTOR_API_KEYS 里可以有更多"
    ),
    "make an API key, print it, put its hash into --keys, and end": (
        "生成一个 API 密钥并显示，把它的哈希写入 --keys，然后结束"
    ),
    "what the new key may do, of {scopes} (default all)": "新密钥的权限，可选 {scopes}（默认 all）",
    "requests a minute for each key (default 120; 0: any number)": "每个密钥每分钟的请求数（默认 120；0 为不限）",
    "longest recording in seconds (default 60)": "录音的最大长度，单位秒（默认 60）",
    "largest request in MiB (default 16)": "请求的最大大小，单位 MiB（默认 16）",
    "seconds for a request (default 30)": "每个请求的时限，单位秒（默认 30）",
    "page of another address that may call the service, as https://example.org; may be repeated": (
        "允许调用本服务的其他网站，例如 https://example.org；可以多次使用"
    ),
    "certificate chain in PEM, for HTTPS": "PEM 格式的证书链，用于 HTTPS",
    "private key of the certificate in PEM": "PEM 格式的证书私钥",
    "dotted path of a function (waveform, sample_rate_hz) that scores or refuses recordings": (
        "为录音打分或拒绝录音的函数 (waveform, sample_rate_hz) 的点分路径"
    ),
    "page and API: {address}": "网页和 API：{address}",
    "There are no API keys: only this computer is answered. --new_key NAME makes one.": (
        "没有 API 密钥：只回应本机。用 --new_key 名称 可以生成一个。"
    ),
    "The key, which is shown only now: {key}": "密钥（只在此时显示一次）：{key}",
    "Its line for a keys file or MVECTOR_API_KEYS: {line}": "写入密钥文件或 MVECTOR_API_KEYS 的一行：{line}",
    "Its hash is in {path}; a running service reads it when it is started again.": (
        "它的哈希已写入 {path}；正在运行的服务要重新启动后才会读取。"
    ),
    # recognition
    "enroll people and recognise who speaks": "注册声纹，识别说话人",
    "Enroll people and recognise who speaks. Without one of the first options: by microphone, with a menu.": (
        "注册声纹，识别说话人。不给出最前面几个选项时：使用麦克风和菜单。"
    ),
    "enroll recordings of a person": "用录音文件注册一个人",
    "say who speaks in recordings": "识别录音文件里是谁在说话",
    "show who is enrolled": "列出已注册的人",
    "delete a person and everything kept of them": "删除一个人及其全部数据",
    "show the microphones": "列出麦克风",
    "where enrolled voices are kept": "声纹库的位置",
    "True or False: keep the recordings of people enrolled now (default True)": (
        "True 或 False：是否保存此次注册的录音（默认 True）"
    ),
    "exact (default): compare with everybody; ivf, or with PostgreSQL hnsw: faster among a million people, but "
    "overlooks somebody now and then": (
        "exact（默认）：与每个人比较；ivf（PostgreSQL 用 hnsw）：百万人时更快，但偶尔会漏掉某个人"
    ),
    "how long to record (default: 3 seconds)": "录音时长（默认 3 秒）",
    "microphone: its number or a part of its name (--list_devices)": "麦克风：编号或名称的一部分（见 --list_devices）",
    "microphone: {name}, {rate} Hz": "麦克风：{name}，{rate} Hz",
    "0 enroll, 1 recognise, 2 delete, q quit: ": "请选择：0 注册，1 识别，2 删除，q 退出：",
    "name of the person: ": "请输入姓名：",
    "name of the person to delete: ": "请输入要删除的姓名：",
    "Type 0, 1, 2 or q.": "请输入 0、1、2 或 q。",
    "Press Enter to record {seconds:g} seconds: ": "按回车键开始录音（{seconds:g} 秒）：",
    "speak now": "请说话……",
    "recorded": "录音结束",
    "{name} is enrolled (recordings: {count})": "{name} 已注册（录音数：{count}）",
    "nobody was recognised": "没有识别出任何人",
    "score {score:.4f} ({scoring})": "分数 {score:.4f}（{scoring}）",
    ", threshold {threshold:.4f}": "，阈值 {threshold:.4f}",
    ", {margin:.4f} more than the next person": "，比第二名高 {margin:.4f}",
    "probability {probability:.2f} % (if somebody enrolled speaks every second time)": (
        "概率 {probability:.2f} %（假设有一半的时候是已注册的人在说话）"
    ),
    "{name} (recordings: {count})": "{name}（录音数：{count}）",
    "people enrolled: {count}": "已注册人数：{count}",
    "{name} is deleted": "{name} 已删除",
    ", the default": "，默认设备",
    "as-norm: the threshold by which enrolled people are recognised where the model has a cohort": (
        "as-norm：模型带有参照集时，识别已注册的人所用的阈值"
    ),
}

SENTENCES = {
    "{name}: {targets} target and {non_targets} non-target trials": (
        "{name}：同人比对 {targets} 个，异人比对 {non_targets} 个"
    ),
    "found: {findings}; see {report}": "发现：{findings}；详见 {report}",
    "left out: {count} lines": "已排除：{count} 行",
    "converted: {count} recordings in {folder}": "已转换：{count} 个录音，在 {folder}",
    "not converted and left out of the lists: {count} recordings, see {report}": (
        "未能转换并已从列表排除：{count} 个录音，详见 {report}"
    ),
    "written: {lists}": "已写入：{lists}",
    # what may follow a sentence
    " Did you mean {name}?": "您是不是想写 {name}？",
    " (and {count} more)": "（另有 {count} 处错误）",
    " Download: {page}": "下载地址：{page}",
    "These voices are synthetic (spoken by eSpeak NG on this machine): the numbers show that the program works, "
    "not how well it recognises people.": (
        "这些声音是合成的（由本机的 eSpeak NG 朗读）：数字只说明程序运行正常，不代表识别真人的水平。"
    ),
    # configuration
    "{file}: no such configuration file.": "{file}：没有这个配置文件。",
    "{file}: not readable as YAML ({reason}).": "{file}：不是有效的 YAML（{reason}）。",
    "{place}: expected key=value, such as train_conf.max_epoch=30.": (
        "{place}：应写成 键=值，例如 train_conf.max_epoch=30。"
    ),
    "unknown key; allowed here: {keys}.{hint}": "没有这个配置项；这里可以写：{keys}。{hint}",
    "unknown key; {section} is not a section.": "没有这个配置项；{section} 不是一个小节。",
    "found {found}, expected {wanted}.{hint}": "现在是 {found}，应为 {wanted}。{hint}",
    "unknown {kind} {name}; there are: {names}, or a dotted path.{hint}": (
        "没有名为 {name} 的{kind}；可用的有：{names}，或写自己的类的点分路径。{hint}"
    ),
    "unknown {kind} {name}; there are: {names}.{hint}": "没有名为 {name} 的{kind}；可用的有：{names}。{hint}",
    "{kind} {name} takes no such argument; it takes: {names}.{hint}": (
        "{kind} {name} 没有这个参数；可用的参数：{names}。{hint}"
    ),
    "backbone": "主干网络",
    "feature": "特征",
    "front end": "前端网络",
    "loss": "损失函数",
    "pooling": "池化",
    "corpus": "数据集",
    "optimiser": "优化器",
    "scheduler": "学习率调度器",
    "null (nothing)": "null（空）",
    "the text {text}": "文本 {text}",
    "the list {items}": "列表 {items}",
    "an empty section": "空的小节",
    "a section with the keys {keys}": "含有 {keys} 的小节",
    "a section with keys of {keys}": "由 {keys} 组成的小节",
    "a section of keys and values": "由键和值组成的小节",
    "a list of sections with keys of {keys}": "由若干小节组成的列表，每节由 {keys} 组成",
    "a list of numbers": "由数字组成的列表",
    "true or false": "true 或 false",
    "true or false or auto": "true、false 或 auto",
    "one of {names}": "{names} 之一",
    "{wanted} or null": "{wanted}或 null",
    "a whole number from {low} to {high}": "{low} 到 {high} 的整数",
    "a whole number of at least {low} below {high}": "不小于 {low} 且小于 {high} 的整数",
    "a whole number of at least {low}": "不小于 {low} 的整数",
    "a whole number above {low}": "大于 {low} 的整数",
    "a whole number": "整数",
    "a number from {low} to {high}": "{low} 到 {high} 的数",
    "a number of at least {low}": "不小于 {low} 的数",
    "a number above {low} below {high}": "大于 {low} 且小于 {high} 的数",
    "a number above {low} of at most {high}": "大于 {low} 且不大于 {high} 的数",
    "a number of at most {high}": "不大于 {high} 的数",
    "a number above {low}": "大于 {low} 的数",
    "a number": "数",
    "text": "文本",
    # lists
    "{list}: the list cannot be read ({reason}).": "{list}：列表无法读取（{reason}）。",
    "No such file or directory": "没有这个文件或文件夹",
    "{list}:{line}: expected 'path<TAB>speaker' with optional start and end in seconds, found {found}. "
    "Separate the columns with one tab, not with spaces.": (
        "{list}:{line}：应为“路径<TAB>说话人”（后面可加起止秒数），现在是 {found}。"
        "各列之间用一个制表符（TAB），不要用空格。"
    ),
    "{list}:{line}: expected '1|0 enroll test' or 'enroll test target|nontarget' (one form in the whole list), "
    "found {found}.": (
        "{list}:{line}：应为“1|0 注册语音 测试语音”或“注册语音 测试语音 target|nontarget”"
        "（整个列表用同一种），现在是 {found}。"
    ),
    "{list}: the data list is empty; expected one 'path<TAB>speaker' per line.": (
        "{list}：数据列表是空的；每行应为“路径<TAB>说话人”。"
    ),
    "{list}: not UTF-8 text after line {line}; save the list as UTF-8.": (
        "{list}：第 {line} 行之后不是 UTF-8 文本；请把列表另存为 UTF-8 编码。"
    ),
    "{list}: not one of its {count} recordings exists; for {name} this was tried: {tried}. "
    "Set dataset_conf.data_root to the folder that the paths start from.": (
        "{list}：里面的 {count} 段录音一段都不存在；为 {name} 找过：{tried}。"
        "请把 dataset_conf.data_root 设为这些路径的起始文件夹。"
    ),
    "no trials: give a trial list, or data lists for enrollment and test.": (
        "没有试验：请给出试验列表，或者注册和测试两个数据列表。"
    ),
    "no recording of the trials can be used; the first: {path}: {reason}": (
        "试验中的录音都不能用；第一段：{path}：{reason}"
    ),
    "dataset_conf.train_list is not set; `python create_data.py --help` shows how to make one": (
        "没有设置 dataset_conf.train_list；如何生成训练列表请看 `python create_data.py --help`"
    ),
    "the training list gives {count} examples an epoch, fewer than one batch of {size}. Lower "
    "dataset_conf.sampler.batch_size, or set dataset_conf.sampler.drop_last to False.": (
        "训练列表每轮只有 {count} 个样本，不够一个 {size} 的批次。请减小 dataset_conf.sampler.batch_size，"
        "或把 dataset_conf.sampler.drop_last 设为 False。"
    ),
    "{count} recordings drawn one after another cannot be used; the last: {reason} Run create_data.py --check on the "
    "list to see what is broken.": (
        "连续抽到的 {count} 段录音都不能用；最后一段：{reason} 请用 create_data.py --check 检查列表，看看哪些坏了。"
    ),
    "{corpus}: {problem}. Expected layout: {layout}.": "{corpus}：{problem}。应有的目录结构：{layout}。",
    "{path} is missing": "缺少 {path}",
    "no recordings were found in {folder}: {hint}": "{folder} 里没有找到录音：{hint}",
    "unpack the archives inside it first ({archive} for one)": "请先解压里面的压缩包（例如 {archive}）",
    "it is empty": "它是空的",
    # create_data.py
    "--corpus needs --root DIR, the folder that the corpus was unpacked into": (
        "--corpus 还需要 --root DIR，即数据集解压到的文件夹"
    ),
    "nothing to do: give --corpus NAME --root DIR, --trials_from LIST, --check or --convert.": (
        "没有要做的事：请给出 --corpus NAME --root DIR、--trials_from LIST、--check 或 --convert。"
    ),
    "--drop leaves out what --check finds: give both.": "--drop 剔除的是 --check 找到的录音：两个要一起用。",
    "{folder}: none of {lists} is there. Make lists with --corpus NAME --root DIR, or name your own with --lists.": (
        "{folder}：里面没有 {lists}。请用 --corpus NAME --root DIR 生成列表，或用 --lists 指定自己的列表。"
    ),
    "{count} target trials were asked for, but {most} can be made of {recordings} recordings of {speakers} speakers: "
    "ask for at most that many with --targets.": (
        "要求 {count} 对同一人的试验，但 {speakers} 个说话人的 {recordings} 段录音只能组成 {most} 对："
        "--targets 不要超过这个数。"
    ),
    # recordings
    "there is no such file (looked in {folder})": "没有这个文件（在 {folder} 里找过）",
    "no such file": "没有这个文件",
    "this is a folder; give one sound file": "这是文件夹；请给出一个声音文件",
    "the file is empty (0 bytes)": "文件是空的（0 字节）",
    "{name}: this cannot be read as sound ({reason}); give a WAV, FLAC, OGG, MP3 or M4A recording": (
        "{name}：不是能读取的声音文件（{reason}）；请给出 WAV、FLAC、OGG、MP3 或 M4A 录音"
    ),
    "{name}: some samples are not finite (NaN or infinite); record or export it again": (
        "{name}：有些采样值不是有限数（NaN 或无穷大）；请重新录制或导出"
    ),
    "{name}: its float samples reach {peak}, but they must lie in [-1, 1]; divide 16-bit values by 32768": (
        "{name}：浮点采样值达到 {peak}，但应在 [-1, 1] 之内；16 位整数值请除以 32768"
    ),
    "{name}: {seconds} s of sound; at least {least} s are needed, a few seconds of speech for a reliable answer": (
        "{name}：只有 {seconds} 秒声音；至少需要 {least} 秒，要结果可靠则需要几秒钟的说话声"
    ),
    "{name}: {seconds} s of sound; this model needs at least {least} s, and a few seconds of speech for a reliable "
    "answer": "{name}：只有 {seconds} 秒声音；这个模型至少需要 {least} 秒，要结果可靠则需要几秒钟的说话声",
    "{name}: no speech was found in it; record again, close to the microphone and with less noise": (
        "{name}：里面没有人说话；请靠近麦克风、在安静的地方重新录制"
    ),
    "{name}: digital silence, every sample is zero; check the microphone and record again": (
        "{name}：完全静音，采样值全为零；请检查麦克风后重新录制"
    ),
    "{name}: digital silence, every sample is zero; check the microphone": (
        "{name}：完全静音，采样值全为零；请检查麦克风"
    ),
    "{name}: recorded at {rate} Hz, so nothing above {limit} Hz is in it (the model expects {expected} Hz); scores "
    "against wide-band recordings are less reliable": (
        "{name}：以 {rate} Hz 录制，不含 {limit} Hz 以上的成分（模型需要 {expected} Hz）；与宽带录音比较时分数不太可靠"
    ),
    "{name}: only {seconds} s of speech was found in it; scores of less than {enough} s are less reliable": (
        "{name}：只找到 {seconds} 秒说话声；少于 {enough} 秒时分数不太可靠"
    ),
    "it is damaged or truncated; what comes before the damage is used": "文件损坏或不完整；只使用损坏处之前的部分",
    "it is truncated: it should last {promised} s, {actual} s can be decoded": (
        "文件不完整：应长 {promised} 秒，只能解码 {actual} 秒"
    ),
    "it is truncated: {promised} bytes were promised, {actual} are there": (
        "文件不完整：应有 {promised} 字节，实际只有 {actual} 字节"
    ),
    "augmentation: no sound files in the folder {folder}. Correct the folder in the augmentation file, or set that "
    "section's prob to 0.": (
        "数据增强：文件夹 {folder} 里没有声音文件。请改正数据增强配置里的文件夹，或把那一节的 prob 设为 0。"
    ),
    "{list}: the list of recordings is empty; expected one path per line.": (
        "{list}：录音列表是空的；每行应为一个路径。"
    ),
    "{given} of noise_dir, noise_list and `source: training` are given for {name}; exactly one is needed": (
        "{name} 的 noise_dir、noise_list 和 `source: training` 给出了 {given} 个；应当恰好给出一个"
    ),
    "the prob of all categories and of noise add up to {total}, but an utterance gets one at most: "
    "they may add up to 1": ("所有类别与 noise 的 prob 之和为 {total}，但一句话最多加一种噪声：总和不能超过 1"),
    "simulated rooms need the package pyroomacoustics (`pip install pyroomacoustics`), which cannot be imported: "
    "{reason}. Or give recorded impulse responses in reverb_dir.": (
        "模拟房间需要 pyroomacoustics（`pip install pyroomacoustics`），但无法导入：{reason}。"
        "也可以在 reverb_dir 里放实测的冲激响应。"
    ),
    # scores
    "there is no way {name} to enroll several utterances; choose one of {names}.{hint}": (
        "没有名为 {name} 的多语音注册方式；可选：{names}。{hint}"
    ),
    "enrollment by concatenation needs one embedding per voice, made of its utterances' joined audio; these voices "
    "have several. Embed the joined audio, or choose the enrollment mean or scores.": (
        "拼接注册（concatenate）要求每个注册者只有一个声纹向量，由拼接后的音频得到；这里有多个。请先拼接音频再提取声纹向量，"
        "或改用 mean 或 scores。"
    ),
    "there is no score normalisation {name}; choose one of {names}.{hint}": (
        "没有名为 {name} 的分数规整方法；可选：{names}。{hint}"
    ),
    "as-norm over the top {number} of a cohort of {size} speakers: the number must be from 2 to the cohort's size. "
    "Choose a smaller number, or build the cohort from more speakers.": (
        "as-norm 要取参照集中最高的 {number} 个分数，但参照集有 {size} 个说话人：这个数应在 2 到参照集的人数之间。"
        "请改小，或用更多说话人建立参照集。"
    ),
    "score normalisation needs a cohort of at least 2 speakers, found {size}.": (
        "分数规整的参照集至少要有 2 个说话人，现在有 {size} 个。"
    ),
    "{count} of {total} recordings have the same score against the whole cohort (the first: number {first}), so scores "
    "cannot be normalised. The cohort's speakers must differ from one another.": (
        "{total} 段录音中有 {count} 段与参照集里每个人的分数都相同（第一段是第 {first} 号），因此无法规整分数。"
        "参照集中的说话人必须互不相同。"
    ),
    "a cohort needs at least 2 speakers with usable recordings, found {count}.": (
        "参照集至少需要 2 个有可用录音的说话人，现在有 {count} 个。"
    ),
    "{path} is not a {kind} file; build it again with this model.": "{path} 不是 {kind} 文件；请用这个模型重新生成。",
    "{path} was made from the embeddings of another model (fingerprint {found}, this model's is {model}); scores "
    "against it would mean nothing. Build it again with this model.": (
        "{path} 是用另一个模型的声纹向量生成的（指纹 {found}，本模型是 {model}）；用它得到的分数没有意义。"
        "请用这个模型重新生成。"
    ),
    "{count} embeddings of {speakers} speakers are too few for LDA and PLDA over {size} dimensions: at least 2 "
    "speakers, and that many recordings more than speakers, are needed. Take more recordings, or score by cosine.": (
        "{speakers} 个说话人的 {count} 个声纹向量对于 {size} 维的 LDA 和 PLDA 太少：至少要 2 个说话人，而且录音数要比"
        "说话人数多出这么多。请增加录音，或用余弦打分。"
    ),
    "LDA of {size} dimensions and {speakers} speakers can keep 1 to {most} directions, {asked} were asked for; ask for "
    "fewer, or train on more speakers.": (
        "{size} 维、{speakers} 个说话人的 LDA 可以保留 1 到 {most} 个方向，要求的是 {asked} 个；请减少，或增加说话人。"
    ),
    # calibration
    "calibration needs trials of both kinds, found {targets} target and {non_targets} non-target trials; give at least "
    "two recordings of each person, and at least two people.": (
        "校准需要两类试验，现在有 {targets} 个同一人的试验和 {non_targets} 个不同人的试验；"
        "请给出至少两个人，每人至少两段录音。"
    ),
    "all scores are the same, so nothing can be learned from them; check that the recordings differ.": (
        "所有分数都相同，从中学不到任何东西；请检查录音是否互不相同。"
    ),
    "target trials do not score higher than non-target trials here, so no calibration can be made of them; check the "
    "labels (1 or 'target' means the same person).": (
        "这里同一人的试验并不比不同人的试验分数高，因此无法校准；请检查标签（1 或 target 表示同一个人）。"
    ),
    "a prior probability lies between 0 and 1, found {prior}.": "先验概率应在 0 和 1 之间，现在是 {prior}。",
    "the stored calibration has no finite number {key}; calibrate the model again.": (
        "保存的校准里没有有限的数 {key}；请重新校准模型。"
    ),
    # exported models
    "the features {name} (backend {backend}) cannot be exported: only those that this package computes itself can. "
    "Export the network alone, without --with_features.": (
        "特征 {name}（后端 {backend}）无法导出：只有本程序包自己计算的特征可以。请去掉 --with_features，只导出网络。"
    ),
    "{name} cannot be exported: what the file computes differs from torch by {difference} of the largest value. "
    "Another release of torch, onnxscript or onnxruntime may do better.": (
        "{name} 无法导出：文件的计算结果与 torch 相差最大值的 {difference}。可以换一个版本的 torch、onnxscript 或 "
        "onnxruntime 再试。"
    ),
    "{name} cannot be exported ({kind}: {reason})": "{name} 无法导出（{kind}：{reason}）",
    "{name} cannot be exported: it fixes the {axis} of its input at {size}.": (
        "{name} 无法导出：它把输入的 {axis} 固定成了 {size}。"
    ),
    "exporting to ONNX needs the package {package}, which cannot be imported ({reason}): pip install onnx onnxscript "
    "onnxruntime": "导出 ONNX 需要 {package}，但无法导入（{reason}）：pip install onnx onnxscript onnxruntime",
    "the file takes features and can be run by programs that make them: {reason}": (
        "文件的输入是特征，只能由自己计算特征的程序来运行：{reason}"
    ),
    "{share} % of the weights are 8-bit integers, the others the network needs exactly; on artificial voices the "
    "cosine to float32 is {cosine}.": (
        "{share} % 的权重是 8 位整数，其余的因网络需要而保持原样；在人造语音上与 float32 的余弦相似度是 {cosine}。"
    ),
    "sherpa-onnx cannot run this model, because it would compute other features ({what}). The file has no metadata for "
    "it; other runtimes are not concerned.": (
        "sherpa-onnx 不能运行这个模型，因为它会算出不同的特征（{what}）。文件里没有写给它的元数据；"
        "其他运行环境不受影响。"
    ),
    "sherpa-onnx computes the features somewhat differently ({what}), so its scores are not quite this model's. Choose "
    "the threshold with sherpa-onnx itself; a model trained with its values agrees.": (
        "sherpa-onnx 计算特征的方式略有不同（{what}），因此它的分数与本模型不完全一致。请用 sherpa-onnx 自己的分数"
        "选择阈值；按它的参数训练的模型则会一致。"
    ),
    "sherpa-onnx does not bring recordings to the level of {level} dB that this model expects; quiet ones will score "
    "differently.": "sherpa-onnx 不会把录音调整到本模型所需的 {level} dB 电平；声音小的录音分数会不同。",
    "{asked}: an exported model runs on the processor. Use device auto, cpu or openvino here, or give the model "
    "directory, which runs on a GPU.": (
        "{asked}：导出的模型在处理器上运行。这里请用设备 auto、cpu 或 openvino；要用 GPU，请给出模型目录。"
    ),
    "{path} takes features, and {features}, which makes them, is not beside it. Copy both files, or export the model "
    "with --with_features, which makes one file of both.": (
        "{path} 的输入是特征，而计算特征的 {features} 不在它旁边。请把两个文件一起复制，"
        "或用 --with_features 导出成一个文件。"
    ),
    "{path} is not a network from features or a waveform to embeddings of a fixed size.": (
        "{path} 不是由特征或波形得到固定长度声纹向量的网络。"
    ),
    "{path} does not say how its features are made, and no {file} lies beside it. Export the model with "
    "tools/export.py.": ("{path} 没有说明特征如何计算，旁边也没有 {file}。请用 tools/export.py 导出模型。"),
    "there is no exported model {path}. Make one: python tools/export.py --model_path DIR --to onnx": (
        "没有导出的模型 {path}。生成它：python tools/export.py --model_path 模型目录 --to onnx"
    ),
    "running an exported model needs the package {package}, which cannot be imported ({reason}): pip install "
    "{install}": ("运行导出的模型需要 {package}，但无法导入（{reason}）：pip install {install}"),
    "{path} is an exported model, whose configuration cannot be changed any more; change that of its model directory "
    "and export it again.": ("{path} 是导出的模型，它的配置不能再改动；请修改模型目录里的配置，然后重新导出。"),
    "--int8 is for ONNX files: leave it out, or export with --to onnx.": (
        "--int8 只用于 ONNX 文件：请去掉它，或用 --to onnx 导出。"
    ),
    # recognition
    "enrolling and recognising people needs a place for their voices: give MVectorPredictor an audio_db_path, such as "
    "'audio_db'.": ("注册和识别需要一个存放声纹的位置：请给 MVectorPredictor 指定 audio_db_path，例如 'audio_db'。"),
    "{name}: only {seconds} s of speech was found in it; speak for two seconds or more": (
        "{name}：里面只有 {seconds} 秒说话声；请说两秒以上"
    ),
    "{name}: only {seconds} s of speech was found in it; enrolling needs at least {least} s, better several seconds": (
        "{name}：里面只有 {seconds} 秒说话声；注册至少需要 {least} 秒，最好有几秒钟"
    ),
    "{name}: the voice is only about {ratio} dB above the noise; below {least} dB people are often not recognised": (
        "{name}：说话声只比噪声高约 {ratio} dB；低于 {least} dB 时常常识别不出来"
    ),
    "{name}: the noise is louder than the voice (about {ratio} dB); enroll from a quieter place": (
        "{name}：噪声比说话声还大（约 {ratio} dB）；请换一个安静的地方注册"
    ),
    "{name}: {share} % of its samples are clipped; lower the level of the microphone": (
        "{name}：{share} % 的采样值过载削波；请调低麦克风音量"
    ),
    "{name}: {share} % of its samples are clipped; lower the level of the microphone and enroll again": (
        "{name}：{share} % 的采样值过载削波；请调低麦克风音量后重新注册"
    ),
    "{name}: only its first {seconds} s are enrolled": "{name}：只用前 {seconds} 秒注册",
    "{name}: not similar enough to {person}, perhaps because of the noise; find a quieter place": (
        "{name}：与{person}不够相似，可能是噪声的缘故；请换一个安静的地方"
    ),
    "{name}: not similar enough to {person}, perhaps because it is clipped; lower the level of the microphone": (
        "{name}：与{person}不够相似，可能是过载削波的缘故；请调低麦克风音量"
    ),
    "{name}: not similar enough to {person}": "{name}：与{person}不够相似",
    "anybody enrolled": "任何已注册的人",
    "nobody is enrolled yet": "还没有人注册",
    "this model has no threshold: give one, or choose one with mvector calibrate": (
        "这个模型没有阈值：请指定一个，或用 mvector calibrate 选出一个"
    ),
    "nobody is enrolled as {name}; --list shows who is.": "没有以 {name} 注册的人；用 --list 查看已注册的人。",
    "nobody is enrolled as {name}.": "没有以 {name} 注册的人。",
    "--enroll needs a name and at least one sound file: --enroll NAME FILE.": (
        "--enroll 需要姓名和至少一个声音文件：--enroll 姓名 文件。"
    ),
    "--record_seconds must be above 0 and at most {most}, found {found}.": (
        "--record_seconds 应大于 0 且不超过 {most}，现在是 {found}。"
    ),
    "the microphone {name} cannot be opened ({reason}). Does another program use it? --list_devices shows the "
    "others.": ("麦克风 {name} 打不开（{reason}）。是不是正被别的程序使用？用 --list_devices 查看其他麦克风。"),
    "the microphone {name} gives no sound. Is it plugged in and switched on? --list_devices shows the others.": (
        "麦克风 {name} 没有声音。插好、打开了吗？用 --list_devices 查看其他麦克风。"
    ),
    "no microphone was found. Plug one in, or give sound files: --enroll NAME FILE, --recognise FILE.": (
        "没有找到麦克风。请接上一个，或者使用声音文件：--enroll 姓名 文件，--recognise 文件。"
    ),
    "{count} called {name}; choose one of: {names}.": "{count}叫 {name}；请从中选一个：{names}。",
    "several microphones are": "有好几个麦克风",
    "no microphone is": "没有麦克风",
    "recording needs the package PyAudio, which cannot be imported ({reason}): pip install pyaudio. On Linux it is "
    "compiled and needs PortAudio first: sudo apt install portaudio19-dev. Without it, give sound files: --enroll NAME "
    "FILE, --recognise FILE.": (
        "录音需要 PyAudio，但无法导入（{reason}）：pip install pyaudio。在 Linux 上它需要编译，请先安装 PortAudio："
        "sudo apt install portaudio19-dev。没有它也可以使用声音文件：--enroll 姓名 文件，--recognise 文件。"
    ),
    # thresholds and evaluation
    "The calibration knows speakers or recordings of the test: calibrated figures are too good.": (
        "校准用到了测试里的说话人或录音：校准后的数字偏好。"
    ),
    "This list chose the model's epoch and threshold: these figures are not a test result.": (
        "模型的轮次和阈值就是用这个列表选出来的，所以这些数字不能当作测试结果。"
    ),
    "a false acceptance rate of {far} % cannot be shown by {trials} non-target trials: it needs {needed}. These can "
    "show {least} % at the least. Record more speakers, or choose the threshold at a higher rate, at the equal error "
    "rate or at a cost.": (
        "{trials} 条异人试验无法证实 {far} % 的误受率：需要 {needed} 条，这些最低只能证实 {least} %。"
        "请录更多的人，或在更高的误受率、等错误率或代价最小处选择阈值。"
    ),
    "a calibration needs recordings of at least {needed} people, best with four or more of each, found {found}. Record "
    "more people.": "校准至少需要 {needed} 个人的录音，最好每人四条以上，现在只有 {found} 个人。请录更多的人。",
    "at a false acceptance rate of {far} %": "误受率为 {far} %",
    "at the equal error rate": "等错误率处",
    "at least cost for p_target {p_target}": "代价最小处（p_target {p_target}）",
    "at least cost for p_target {p_target}, costs {miss} and {fa}": (
        "代价最小处（p_target {p_target}，误拒、误受代价 {miss} 和 {fa}）"
    ),
    "there is no score {name}; choose one of {names}.{hint}": "没有打分方法 {name}；可选：{names}。{hint}",
    "--qmf learns from trials: give them with --calibration_list, of speakers not in the test.": (
        "--qmf 要从试验中学习：请用 --calibration_list 给出，其中的说话人不能出现在测试里。"
    ),
    "{folder} has no {file}, and the training list {list} to make one of is not here. Give training embeddings "
    "(tools/extract_embeddings.py makes them) with --training_embeddings.": (
        "{folder} 里没有 {file}，用来生成它的训练列表 {list} 也不在。"
        "请用 --training_embeddings 给出训练声纹向量（由 tools/extract_embeddings.py 生成）。"
    ),
    "{folder} has no {file}: give training embeddings (tools/extract_embeddings.py makes them) with "
    "--training_embeddings.": (
        "{folder} 里没有 {file}：请用 --training_embeddings 给出训练声纹向量（由 tools/extract_embeddings.py 生成）。"
    ),
    # models and training
    "there is no model directory {folder}. Train a model first (python train.py --configs configs/quickstart.yml), or "
    "name one with --model_path.{hint}": (
        "没有模型目录 {folder}。请先训练一个模型（python train.py --configs configs/quickstart.yml），"
        "或用 --model_path 指定。{hint}"
    ),
    "{folder} is not a model directory: it has no {file}.{hint}": "{folder} 不是模型目录：里面没有 {file}。{hint}",
    "{folder} has no {file}, so training cannot go on from it. Resume from a last_model folder, or start a new run "
    "from these weights with --pretrained_model.": (
        "{folder} 里没有 {file}，无法从它继续训练。请从 last_model 文件夹继续，"
        "或用 --pretrained_model 以这些权重为起点重新训练。"
    ),
    "{folder} was trained with {then} speakers; the data list now has {now}, and they are not the same. Restore the "
    "list, give this run a folder of its own with --save_model_path, or start it from these weights with "
    "--pretrained_model.": (
        "{folder} 是用 {then} 个说话人训练的；现在的数据列表有 {now} 个，而且不一样。请恢复原来的列表，"
        "或用 --save_model_path 给这次训练另一个文件夹，或用 --pretrained_model 以这些权重为起点训练。"
    ),
    "{checkpoint} is of another run, with another {parts}. Give this one a folder of its own with --save_model_path "
    "(and --log_dir), or leave out --resume_model auto: then the other one is kept as ….previous-1 and this one "
    "begins.": (
        "{checkpoint} 属于另一次训练，{parts} 与现在不同。请用 --save_model_path（和 --log_dir）给这次训练"
        "另一个文件夹，或去掉 --resume_model auto：那样原来的训练会保存为 ….previous-1，然后开始这次训练。"
    ),
    "{folder} was trained on another list: the recordings of the training list, their speakers or their order have "
    "changed. Restore the list, give this run a folder of its own with --save_model_path, or start it from these "
    "weights with --pretrained_model.": (
        "{folder} 是用另一份列表训练的：训练列表中的录音、说话人或顺序变了。请恢复原来的列表，"
        "或用 --save_model_path 给这次训练另一个文件夹，或用 --pretrained_model 以这些权重为起点训练。"
    ),
    "{folder} was trained with train_conf.seed {then}, now it is {now}, which draws the utterances in another order. "
    "Set it to {wanted}, or start a new run from these weights with --pretrained_model.": (
        "{folder} 训练时 train_conf.seed 是 {then}，现在是 {now}，抽取语音的顺序会不同。请把它设为 {wanted}，"
        "或用 --pretrained_model 以这些权重为起点重新训练。"
    ),
    "{folder} was trained with {then} batches an epoch, now there are {now}: the data list, the batch size or (with "
    "very small batches) the number of processes has changed. Restore them, or start a new run from these weights "
    "with --pretrained_model.": (
        "{folder} 训练时每轮 {then} 个批次，现在是 {now} 个：数据列表、批次大小或（批次很小时）进程数变了。"
        "请恢复原样，或用 --pretrained_model 以这些权重为起点重新训练。"
    ),
    "pretrained_model: {folder} has no {file}; give a model directory": (
        "pretrained_model：{folder} 里没有 {file}；请给出模型目录"
    ),
    "there is no development list apart from the test list {list}: a model whose epoch and threshold are chosen on the "
    "test list looks better there than it is. Name a list of other speakers in dataset_conf.dev_trials_list "
    "(create_data.py makes one), train without evaluation (--do_eval False), or allow it with --set "
    "train_conf.choose_on_test_list=True.": (
        "除测试列表 {list} 外没有开发列表：在测试列表上选择轮次和阈值的模型，在它上面会显得比实际更好。"
        "请在 dataset_conf.dev_trials_list 中给出由其他说话人组成的列表（create_data.py 可以生成），"
        "或不做评估地训练（--do_eval False），或用 --set train_conf.choose_on_test_list=True 允许这样做。"
    ),
    "the loss is {loss} and the gradient {gradient} at step {step} (epoch {epoch}), in {precision}. Lower the learning "
    "rate, set train_conf.clip_grad_norm, or set train_conf.enable_amp to False.{saved}": (
        "第 {step} 步（第 {epoch} 轮，{precision}）损失为 {loss}，梯度为 {gradient}。请降低学习率、"
        "设置 train_conf.clip_grad_norm，或把 train_conf.enable_amp 设为 False。{saved}"
    ),
    "{folder} cannot be written at epoch {epoch}, batch {batch} ({error}); {safe}. Make room there, and go on with "
    "--resume_model auto.": (
        "第 {epoch} 轮第 {batch} 批时无法写入 {folder}（{error}）；{safe}。"
        "请腾出空间，然后用 --resume_model auto 继续。"
    ),
    "the last complete checkpoint is {folder}": "最后一个完整的检查点是 {folder}",
    "nothing was saved before": "此前没有保存过任何内容",
    "torch.compile cannot compile this network here ({error}). It needs a C++ compiler, and Triton on a GPU; set "
    "train_conf.use_compile to False to train without.": (
        "torch.compile 在这里无法编译这个网络（{error}）。它需要 C++ 编译器，在 GPU 上还需要 Triton；"
        "把 train_conf.use_compile 设为 False 就可以不编译地训练。"
    ),
    "{device} is out of memory. Lower dataset_conf.sampler.batch_size (and raise train_conf.accumulate_grad_batches as "
    "much) or dataset_conf.dataset.max_duration, or set train_conf.enable_amp to True.": (
        "{device} 的内存（显存）不够。请减小 dataset_conf.sampler.batch_size（并相应增大 "
        "train_conf.accumulate_grad_batches）或 dataset_conf.dataset.max_duration，"
        "或把 train_conf.enable_amp 设为 True。"
    ),
    "{folder} is missing, which large-margin fine-tuning starts from. Train the first stage again, or leave out "
    "large_margin_conf.": ("缺少 {folder}，大间隔微调要从它开始。请重新训练第一阶段，或去掉 large_margin_conf。"),
    "pretrained_model: {folder} was trained with {key}={theirs}, the configuration has {ours}. Weights fit only their "
    "own features: set {key_again} to {wanted}.": (
        "pretrained_model：{folder} 训练时 {key}={theirs}，现在的配置是 {ours}。权重只适用于它自己的特征："
        "请把 {key_again} 设为 {wanted}。"
    ),
    "train_conf.freeze_backbone_epochs: a backbone with random weights would be frozen. Name the model to start from "
    "with --pretrained_model, or set it to 0.": (
        "train_conf.freeze_backbone_epochs：这样会冻结权重随机的主干网络。请用 --pretrained_model 指定起点模型，"
        "或把它设为 0。"
    ),
    "optimizer_conf.backbone_lr_factor does not go with {scheduler}, which sets one rate for everything: take another "
    "scheduler, or leave backbone_lr_factor at 1": (
        "optimizer_conf.backbone_lr_factor 不能与 {scheduler} 一起用，后者为所有参数设同一个学习率："
        "请换一种学习率策略，或让 backbone_lr_factor 保持 1"
    ),
    "optimizer_conf.scheduler_args.min_lr: an exponential schedule never reaches 0; set it above 0": (
        "optimizer_conf.scheduler_args.min_lr：指数下降永远到不了 0，请设为大于 0 的数"
    ),
    "--save_samples: the features were computed ahead (dataset_conf.train_features), so there is no sound to save. "
    "Leave it out.": (
        "--save_samples：特征是预先算好的（dataset_conf.train_features），没有声音可以保存。请去掉这个选项。"
    ),
    "{path} has format {found}; this version reads format {wanted}": (
        "{path} 的格式是 {found}；这个版本读取格式 {wanted}"
    ),
    " The last good state is in {folder}.": "最后一次正常的状态在 {folder}。",
    "threshold must be a cosine similarity from -1 to 1, found {found}": (
        "阈值应为 -1 到 1 之间的余弦相似度，现在是 {found}"
    ),
    # published checkpoints
    "{folder} is there already and not empty; name another folder with --save_dir.": (
        "{folder} 已经存在而且不是空的；请用 --save_dir 指定另一个文件夹。"
    ),
    "a preset says what the file holds: leave out --family, --architecture and --configs.": (
        "预设已经说明文件里是什么：请去掉 --family、--architecture 和 --configs。"
    ),
    "say what the file holds: --preset NAME, or --family and --architecture.": (
        "请说明文件里是什么：--preset NAME，或者 --family 和 --architecture。"
    ),
    "--configs is for checkpoints of the mvector package and says what the file holds: leave out --architecture and "
    "--arguments, and any other --family.": (
        "--configs 用于 mvector 包的检查点，已经说明文件里是什么：请去掉 --architecture 和 --arguments，"
        "也不要用别的 --family。"
    ),
    "--arguments {text}: expected key=value, such as embedding_size=192.": (
        "--arguments {text}：应写成 键=值，例如 embedding_size=192。"
    ),
    "unknown preset {name}; there are: {names}.{hint}": "没有名为 {name} 的预设；可用的有：{names}。{hint}",
    "unknown family {name}; there are: {names}.{hint}": "没有名为 {name} 的系列；可用的有：{names}。{hint}",
    "family {family} has no architecture {name}; there are: {names}.{hint}": (
        "系列 {family} 没有名为 {name} 的结构；可用的有：{names}。{hint}"
    ),
    "{family} {name} takes no argument {argument}; it takes: {names}.{hint}": (
        "{family} {name} 没有参数 {argument}；可用的有：{names}。{hint}"
    ),
    "there is no checkpoint file {file}.": "没有检查点文件 {file}。",
    "{file} cannot be read as a plain state dict: {reason}. Files that hold more than tensors and numbers are refused, "
    "because loading those can run a stranger's code.": (
        "{file} 不是只含权重的文件：{reason}。除张量和数字外还含有别的内容的文件一律拒绝，"
        "因为读取它们可能会运行陌生人的代码。"
    ),
    "{file} holds no state dict (names and tensors), only {kind}.": "{file} 里没有权重（名称和张量），只有 {kind}。",
    "{name}: the entries do not fit. {problems}. Check the architecture and its arguments (embedding size, width, "
    "pooling, feature size).": (
        "{name}：权重对不上。{problems}。请检查结构及其参数（声纹向量维数、宽度、池化、特征维数）。"
    ),
    # metrics
    "EER {rate} %{interval} at threshold {threshold}": "等错误率 EER {rate} %{interval}，阈值 {threshold}",
    "minDCF({p_target}) not measurable: needs {count} non-target trials": (
        "minDCF({p_target}) 无法测量：需要 {count} 个异人比对"
    ),
    "minDCF({p_target}) {cost}{interval} at threshold {threshold}": (
        "最小检测代价 minDCF({p_target}) {cost}{interval}，阈值 {threshold}"
    ),
    "actDCF({p_target}) not measurable: needs {count} non-target trials": (
        "actDCF({p_target}) 无法测量：需要 {count} 个异人比对"
    ),
    "actDCF({p_target}) {cost}{interval}": "实际检测代价 actDCF({p_target}) {cost}{interval}",
    "FRR at FAR {far} % not measurable: needs {count} non-target trials": (
        "误受率 FAR {far} % 时的误拒率无法测量：需要 {count} 个异人比对"
    ),
    "FRR {rate} %{interval} at FAR {far} %, threshold {threshold}": (
        "误受率 FAR {far} % 时的误拒率 FRR {rate} %{interval}，阈值 {threshold}"
    ),
    "Cllr {cost}{interval} bits": "Cllr {cost}{interval} 比特",
    "min Cllr {cost}{interval} bits": "最小 Cllr {cost}{interval} 比特",
    "area under the ROC curve {area}{interval}": "ROC 曲线下面积 {area}{interval}",
    "average precision {value}{interval}": "平均精确率 {value}{interval}",
    "accuracy {rate} %{interval} at threshold {threshold}": "准确率 {rate} %{interval}，阈值 {threshold}",
    "{targets} target and {non_targets} non-target trials by {speakers} speakers": (
        "同人比对 {targets} 个，异人比对 {non_targets} 个，来自 {speakers} 个说话人"
    ),
    "identification of {probes} recordings among {people} people": "在 {people} 人中辨认 {probes} 条录音",
    "top-{count} {rate} %{interval}": "前 {count} 名命中率 {rate} %{interval}",
    "DIR at FAR {far} % not measurable: needs {count} recordings of others": (
        "误受率 FAR {far} % 时的开集辨认率 DIR 无法测量：需要 {count} 条未注册者的录音"
    ),
    "DIR {rate} %{interval} at FAR {far} %, threshold {threshold}": (
        "误受率 FAR {far} % 时的开集辨认率 DIR {rate} %{interval}，阈值 {threshold}"
    ),
    "others: {count} recordings of people who are not enrolled": "其中未注册者的录音 {count} 条",
    "identification needs recordings of enrolled people; none of the recordings is of one.": (
        "说话人辨认需要已注册者的录音，但这些录音中一条也没有。"
    ),
    "in brackets: 95 % confidence intervals from resampling the speakers": (
        "方括号内：对说话人重采样得到的 95 % 置信区间"
    ),
    "fewer than {count} speakers: the true confidence interval is wider than any shown": (
        "说话人少于 {count} 个：真实的置信区间比显示的更宽"
    ),
    "error rates need target and non-target trials, found {targets} target and {non_targets} non-target trials; check "
    "the labels of the trials.": (
        "计算错误率需要同人比对和异人比对，现在有 {targets} 个同人比对和 {non_targets} 个异人比对；请检查试验的标签。"
    ),
    "a FAR is a fraction above 0 and below 1 (0.001 for 0.1 %), found {far}.": (
        "误受率 FAR 应是大于 0 且小于 1 的小数（0.1 % 写作 0.001），现在是 {far}。"
    ),
    "a detection cost needs 0 < p_target < 1 and costs above 0, found p_target={p_target}, c_miss={c_miss}, "
    "c_fa={c_fa}.": (
        "检测代价要求 0 < p_target < 1 且代价大于 0，现在是 p_target={p_target}，c_miss={c_miss}，c_fa={c_fa}。"
    ),
    "{metric} is not measurable: it needs {needed} non-target trials, found {found}.": (
        "{metric} 无法测量：需要 {needed} 个异人比对，现在有 {found} 个。"
    ),
    "no confidence interval can be had from {count} speakers.": "{count} 个说话人不足以得到置信区间。",
    "two systems cannot be compared on {count} speakers; more are needed.": (
        "{count} 个说话人不足以比较两个系统；需要更多说话人。"
    ),
    # packed embeddings
    "{missing} of {count} recordings are not among the {rows} packed embeddings; the first: {path}{part}. Extract the "
    "embeddings of this list with tools/extract_embeddings.py, started in the same folder so that its paths are the "
    "same.": (
        "{count} 段录音中有 {missing} 段不在这 {rows} 个打包的声纹向量里；第一段是：{path}{part}。"
        "请用 tools/extract_embeddings.py 提取这个列表的声纹向量，并在同一个文件夹里运行，使路径保持一致。"
    ),
    "the packed embeddings come from the model {packed}, and this one is {given}: extract them again, or give the "
    "model that they come from.": (
        "打包的声纹向量来自模型 {packed}，而现在的模型是 {given}：请重新提取，或者给出它们所属的模型。"
    ),
    "the packed embeddings are of utterances cut after {packed} s, and now dataset_conf.eval_conf.max_duration is "
    "{given} s: extract them again, or set it to the same.": (
        "打包的声纹向量来自截取到 {packed} 秒的语音，而现在 dataset_conf.eval_conf.max_duration 是 {given} 秒："
        "请重新提取，或者把它设成相同的值。"
    ),
    "{folder}: the extraction of these embeddings is not finished; run the same command again to go on.": (
        "{folder}：这些声纹向量还没有提取完；请再次运行同一条命令，它会接着做。"
    ),
    "{folder} holds no packed embeddings (no {meta}). Make them: python tools/extract_embeddings.py --model_path DIR "
    "--list LIST --output {output}": (
        "{folder} 里没有打包的声纹向量（没有 {meta}）。请先提取：python tools/extract_embeddings.py --model_path 目录 "
        "--list 列表 --output {output}"
    ),
    "{folder}: the packed embeddings are damaged ({reason}): delete the folder and extract them again.": (
        "{folder}：打包的声纹向量已损坏（{reason}）：请删除这个文件夹并重新提取。"
    ),
    "{folder}: {meta} speaks of {rows} rows of {size}, {matrix} has {shape} and {index} {lines}: delete the folder and "
    "extract the embeddings again.": (
        "{folder}：{meta} 说有 {rows} 行、每行 {size} 个数，而 {matrix} 是 {shape}，{index} 有 {lines} 行："
        "请删除这个文件夹并重新提取声纹向量。"
    ),
    "{file} does not describe packed embeddings of this version ('format': '{format}').": (
        "{file} 描述的不是这个版本的打包声纹向量（'format': '{format}'）。"
    ),
    "{path}: a path or speaker with a tab or a line's end cannot be packed.": (
        "{path}：含有制表符或换行符的路径或说话人名称无法打包。"
    ),
    "{folder}: the embeddings cannot be written ({reason}).": "{folder}：声纹向量无法写入（{reason}）。",
    "{folder} holds embeddings of another {what}: give another --output, or delete that folder.": (
        "{folder} 里的声纹向量与这次的 {what} 不同：请另选 --output，或者删除那个文件夹。"
    ),
    "{folder} exists and holds no embeddings: give another --output.": (
        "{folder} 已经存在，但里面不是声纹向量：请另选 --output。"
    ),
    "{file} was damaged ({reason}) and has been removed; run the same command again to embed it anew.": (
        "{file} 已损坏（{reason}），现已删除；请再次运行同一条命令重新提取。"
    ),
    "not one of {count} recordings can be embedded; the last: {path}: {reason}": (
        "{count} 段录音没有一段能提取声纹向量；最后一段：{path}：{reason}"
    ),
    "{missing} of {count} parts are missing and no other process has written one for {minutes} minutes: run the same "
    "command again to embed them.": (
        "{count} 个分片中还缺 {missing} 个，而且其他进程已有 {minutes} 分钟没有写出新的分片：请再次运行同一条命令。"
    ),
    "there is no recording to embed.": "没有要提取的录音。",
    # what a test shares with the training; the last of the sentences that follow each other comes first
    " Other parts of recordings trained on: {count}, for one {path}.": (
        "有 {count} 段取自训练用过的录音的其他部分，例如 {path}。"
    ),
    " Recordings trained on: {count}, for one {path}.": "有 {count} 段录音在训练中用过，例如 {path}。",
    " Speakers trained on: {count}, for one {name}.": "有 {count} 个说话人在训练中出现过，例如 {name}。",
    "The figures of this test are too good.": "这次测试的结果偏好。",
    "The test shares no recording and no speaker with the training.": "测试与训练没有共同的录音和说话人。",
    "The test shares no recording with the training; its list names no speakers to compare.": (
        "测试与训练没有共同的录音；测试列表没有说话人名称，无法比较说话人。"
    ),
    "{shared} of {count} speakers of the test stand in the training list; their names are mere numbers (for one "
    "{name}), which may mean others in the other list; if they are the same people, the figures of this test are too "
    "good.": (
        "测试的 {count} 个说话人中有 {shared} 个也出现在训练列表里；但他们的名称只是数字（例如 {name}），"
        "在两个列表里可能指不同的人；如果是同样的人，这次测试的结果就偏好。"
    ),
    # devices and packages
    "use_gpu is True, but PyTorch sees no CUDA GPU here. Leave use_gpu out (or --device auto) to use what there is, or "
    "install the CUDA build of PyTorch and the driver.": (
        "use_gpu 为 True，但 PyTorch 在这里找不到 CUDA GPU。请去掉 use_gpu（或用 --device auto）以使用现有设备，"
        "或者安装 CUDA 版 PyTorch 和显卡驱动。"
    ),
    "device {device}: PyTorch sees no CUDA GPU here; use --device auto or cpu": (
        "设备 {device}：PyTorch 在这里找不到 CUDA GPU；请用 --device auto 或 cpu"
    ),
    "device {device}: there are {count} GPUs here, numbered from 0": (
        "设备 {device}：这里有 {count} 块 GPU，从 0 开始编号"
    ),
    "unknown device {device}; expected auto, cpu, cuda, cuda:0 … or mps": (
        "没有名为 {device} 的设备；应为 auto、cpu、cuda、cuda:0 … 或 mps"
    ),
    "{name}: sound of this kind ({kind}) is read through PyAV, which is missing: pip install av": (
        "{name}：读取这种声音（{kind}）需要 PyAV，但没有安装：pip install av"
    ),
    "pictures need matplotlib, which is missing: pip install matplotlib": (
        "画图需要 matplotlib，但没有安装：pip install matplotlib"
    ),
    "pictures need matplotlib, which cannot be imported ({reason}): pip install matplotlib": (
        "画图需要 matplotlib，但无法导入（{reason}）：pip install matplotlib"
    ),
    "the quickstart's synthetic voices need the package espeakng-loader (eSpeak NG), which cannot be imported: run "
    'pip install -e ".[train]" or pip install espeakng-loader.': (
        "快速开始的合成语音需要 espeakng-loader（eSpeak NG），但无法导入：请运行 "
        'pip install -e ".[train]" 或 pip install espeakng-loader。'
    ),
    # reports and comparisons
    "{path}: the metadata file is empty; expected a header such as 'path,gender,age'.": (
        "{path}：元数据文件是空的；第一行应为表头，例如 'path,gender,age'。"
    ),
    "{path}:{line}: expected a header that begins with 'path' or 'speaker' and names at least one more column, "
    "separated by commas or tabs, found {text}.": (
        "{path}:{line}：表头应以 'path' 或 'speaker' 开头，并至少再有一列，用逗号或制表符分隔，现在是 {text}。"
    ),
    "{path}:{line}: each column needs a name of its own, found {names}.": (
        "{path}:{line}：每一列都要有自己的名称，现在是 {names}。"
    ),
    "{path}:{line}: expected {number} columns ({names}), found {found}: {text}.": (
        "{path}:{line}：应有 {number} 列（{names}），现在有 {found} 列：{text}。"
    ),
    "{path}:{line}: {name} stands in line {first} with other values; keep one of the two lines.": (
        "{path}:{line}：{name} 在第 {first} 行已有不同的取值；两行请只保留一行。"
    ),
    "{path}: not one of its {count} rows belongs to a recording of the trials; the trials have {example}, for example. "
    "Write the first column as the lists do.": (
        "{path}：其中 {count} 行没有一行属于试验里的录音；试验里例如有 {example}。第一列请写成与列表一致的形式。"
    ),
    "durations and signal-to-noise ratios must be finite numbers (NaN: unknown), one for each recording.": (
        "时长和信噪比必须是有限的数（未知写 NaN），每段录音一个。"
    ),
    "{folder}: the report cannot be written ({reason}).": "{folder}：报告无法写入（{reason}）。",
    "{folder}: the comparison cannot be written ({reason}).": "{folder}：比较结果无法写入（{reason}）。",
    "{folder} has no {file}; give the folder of a report, as eval.py --report writes.": (
        "{folder} 里没有 {file}；请给出 eval.py --report 写出的报告文件夹。"
    ),
    "{path}: no such report folder or score file.": "{path}：没有这个报告文件夹或分数文件。",
    "{path}:{line}: expected 'enroll test score target|nontarget', found {text}.": (
        "{path}:{line}：应为“注册语音 测试语音 分数 target|nontarget”，现在是 {text}。"
    ),
    "{path}: the score file is empty; expected 'enroll test score target|nontarget' per line.": (
        "{path}：分数文件是空的；每行应为“注册语音 测试语音 分数 target|nontarget”。"
    ),
    "{path}: so many trials were counted in bins of scores, not kept one by one; runs can be compared on a smaller "
    "list.": "{path}：试验太多，分数按区间计数而没有逐个保留；请在较小的列表上比较。",
    "{path}: written by another version of mvector; evaluate the run again.": (
        "{path}：由另一个版本的 mvector 写出；请重新评估。"
    ),
    "{path}: not a score file of a report ({reason}); evaluate the run again.": (
        "{path}：不是报告的分数文件（{reason}）；请重新评估。"
    ),
    "a comparison needs at least two runs.": "比较至少需要两次评估。",
    "{one} and {other} have no trial in common; runs are compared on the same test list.": (
        "{one} 与 {other} 没有共同的试验；只有同一测试列表上的评估才能比较。"
    ),
    "{one} calls {count} trials target that {other} calls non-target, or the other way round; runs are compared on the "
    "same test list.": (
        "有 {count} 次试验，{one} 与 {other} 的目标／非目标标签相反；只有同一测试列表上的评估才能比较。"
    ),
    "give at least two different runs to compare, each a report folder or a score file.": (
        "请给出至少两次不同的评估，每次是一个报告文件夹或分数文件。"
    ),
    "{metric} is not an error metric; there are: {names}, min_cllr.": (
        "{metric} 不是错误指标；可以写：{names}, min_cllr。"
    ),
    # all pairs, score files
    "all pairs need embeddings [N, E] and [M, E] of one size, found shapes {shape} and {other}; embeddings of "
    "different models cannot be compared.": (
        "全对比需要维数相同的声纹向量 [N, E] 和 [M, E]，实际形状为 {shape} 和 {other}；不同模型的向量不能比较。"
    ),
    "each of the {rows} embeddings needs one id, found ids of shape {shape}.": (
        "{rows} 个声纹向量各需要一个编号，实际编号的形状为 {shape}。"
    ),
    "{bad} of {rows} embeddings are NaN or infinite; leave such recordings out and count them.": (
        "{rows} 个声纹向量中有 {bad} 个含 NaN 或无穷大；请排除这些录音并记下数目。"
    ),
    "{path}: so many trials were counted in bins of scores, not kept one by one; a score file needs a trial list or "
    "fewer recordings.": "{path}：试验太多，分数只按区间计数，没有逐个保存；要写分数文件，请用试验列表或较少的录音。",
    "{path}: the score file cannot be written ({reason}).": "{path}：分数文件无法写入（{reason}）。",
    # recordings in tar files and behind a URL
    "{member}: there is no {name} in this tar file": "{member}：这个 tar 文件里没有 {name}",
    "{member}: there is no file {file}": "{member}：没有文件 {file}",
    "{member}: the tar file cannot be read ({reason})": "{member}：tar 文件无法读取（{reason}）",
    "{member}: the tar file ends before this recording does; copy or make it again": (
        "{member}：tar 文件在这段录音结束之前就断了；请重新复制或重新打包"
    ),
    "{url}: files behind a URL are read through fsspec, which cannot be imported ({reason}): pip install fsspec": (
        "{url}：读取网址上的文件需要 fsspec，但它无法导入（{reason}）：pip install fsspec"
    ),
    "{url}: fsspec cannot read this kind of URL ({reason}).": "{url}：fsspec 不能读取这种网址（{reason}）。",
    "{url}: there is no such file.": "{url}：没有这个文件。",
    "{url} cannot be fetched ({kind}: {reason}).": "{url} 无法下载（{kind}: {reason}）。",
    # shards
    "{index}: {shard} should hold {expected} utterances and holds {found}: make the shards again.": (
        "{index}：{shard} 应有 {expected} 条语音，实际有 {found} 条：请重新打包。"
    ),
    "{pattern}: no file fits this pattern.": "{pattern}：没有符合这个模式的文件。",
    "{index}: {missing} of {count} shards are missing; the first: {shard}.": (
        "{index}：{count} 个分片中缺少 {missing} 个；第一个是 {shard}。"
    ),
    "{shard} has {found} bytes, but {index} speaks of {expected}: copy or make it again.": (
        "{shard} 有 {found} 字节，但 {index} 写的是 {expected}：请重新复制或重新打包。"
    ),
    "{path}: the index of shards cannot be read ({reason}).": "{path}：分片索引无法读取（{reason}）。",
    "{path} is no index of shards of this version ('format': '{format}').": (
        "{path} 不是这个版本的分片索引（'format': '{format}'）。"
    ),
    "{shard}: it cannot be read as an uncompressed tar file ({reason}).": (
        "{shard}：不是能读取的未压缩 tar 文件（{reason}）。"
    ),
    "{shard}: there is no recording in this tar file.": "{shard}：这个 tar 文件里没有录音。",
    "{shard}: {name} has no speaker; expected {json}.json with one of {keys}, or {cls}.cls, {spk}.spk or "
    "{speaker}.speaker, in the same tar file.": (
        "{shard}：{name} 没有说话人；同一个 tar 文件里应有含 {keys} 之一的 {json}.json，或 {cls}.cls、{spk}.spk、"
        "{speaker}.speaker。"
    ),
    "--utterances must be at least 1, found {found}.": "--utterances 至少为 1，实际为 {found}。",
    "--megabytes must be above 0, found {found}.": "--megabytes 应大于 0，实际为 {found}。",
    "{folder} exists and is no folder of shards: give another --output.": (
        "{folder} 已经存在，但不是分片文件夹：请换一个 --output。"
    ),
    "{folder} holds shards of another list, or made with other options: give another --output, or delete that "
    "folder.": "{folder} 里的分片来自别的列表或别的选项：请换一个 --output，或删除这个文件夹。",
    "{folder}: the shards cannot be written ({reason}).": "{folder}：分片无法写入（{reason}）。",
    "{name}: it cannot be read ({reason})": "{name}：无法读取（{reason}）",
    "not one of {count} recordings can be used; the last: {reason}": (
        "{count} 段录音没有一段可以使用；最后一段：{reason}"
    ),
    # features computed ahead
    "there is no list: set dataset_conf.train_list, or give --list.": (
        "没有列表：请设置 dataset_conf.train_list，或给出 --list。"
    ),
    "dataset_conf.train_features holds features of the recordings as they are, but the augmentation asks for "
    "{names}: set its prob to 0 (spec_aug may stay), or train from dataset_conf.train_list.": (
        "dataset_conf.train_features 里是录音本来的特征，但数据增强配置了 {names}：请把它的 prob 设为 0（spec_aug "
        "可以保留），或改用 dataset_conf.train_list 训练。"
    ),
    "preprocess_conf.feature_method {method} cannot be computed ahead: it is trained with the network, or does not "
    "say how many frames a recording has. Train without dataset_conf.train_features.": (
        "特征 preprocess_conf.feature_method {method} 不能预先计算：它和网络一起训练，或没有说明一段录音有多少帧。"
        "请不用 dataset_conf.train_features 来训练。"
    ),
    "{folder} has features of another recipe: {key} was {found}, and the configuration says {wanted}. Extract them "
    "again (tools/extract_features.py) or change that.": (
        "{folder} 里的特征来自别的特征设置：{key} 当时是 {found}，配置文件写的是 {wanted}。"
        "请重新提取（tools/extract_features.py），或修改配置。"
    ),
    "{folder} holds no finished packed features (no {meta}). Make them, or go on making them: python "
    "tools/extract_features.py --configs CONFIG --output {output}": (
        "{folder} 里没有提取完的特征（没有 {meta}）。请提取，或接着提取：python tools/extract_features.py "
        "--configs 配置文件 --output {output}"
    ),
    "{file} does not describe packed features of this version ('format': '{format}').": (
        "{file} 描述的不是这个版本的特征文件夹（'format': '{format}'）。"
    ),
    "{folder}: the packed features are damaged ({reason}): delete the folder and extract them again.": (
        "{folder}：特征已损坏（{reason}）：请删除这个文件夹并重新提取。"
    ),
    "{count} utterances drawn one after another have no features; the last: {reason}": (
        "连续抽到的 {count} 条语音都没有特征；最后一条：{reason}"
    ),
    "{folder}: the features cannot be written ({reason}).": "{folder}：特征无法写入（{reason}）。",
    "{folder} holds features of another {what}: give another --output, or delete that folder.": (
        "{folder} 里是别的特征（{what} 不同）：请换一个 --output，或删除这个文件夹。"
    ),
    "{folder} exists and holds no features: give another --output.": (
        "{folder} 已经存在，但里面没有特征：请换一个 --output。"
    ),
    "{folder}: {frames} frames of {size} numbers need {needed} GB, and {free} GB are free there: give another "
    "--output, or --dtype float16.": (
        "{folder}：{frames} 帧、每帧 {size} 个数需要 {needed} GB，但那里只剩 {free} GB：请换一个 --output，"
        "或用 --dtype float16。"
    ),
    "computing features: a worker process was killed, perhaps for want of memory; run the same command again with "
    "fewer --num_workers, it goes on.": (
        "计算特征时有一个进程被终止，可能是内存不足；请减少 --num_workers 后再次运行同样的命令，会接着做。"
    ),
    "{path}: its features reach {value}, which {dtype} does not hold: give --dtype float32 and another --output.": (
        "{path}：它的特征达到 {value}，{dtype} 存不下：请用 --dtype float32 和另一个 --output。"
    ),
    "not one of {count} recordings gives features; the last: {reason}": (
        "{count} 段录音没有一段能得到特征；最后一段：{reason}"
    ),
    "{path}: its length is unknown": "{path}：长度未知",
    "{path} has {frames} frames, fewer than min_duration {seconds} s.": (
        "{path} 有 {frames} 帧，短于 min_duration {seconds} 秒。"
    ),
    # the store of enrolled voices
    "{location}: the store cannot be used ({reason}). Is the server there, does it have pgvector, and may this user "
    "create tables?": "{location}：声纹库无法使用（{reason}）。服务器是否在运行、是否装有 pgvector、该用户能否建表？",
    "{file}: the store cannot be used ({reason}). {advice}": "{file}：声纹库无法使用（{reason}）。{advice}",
    "Another program has been writing to it for {seconds} s; try again.": "另一个程序已连续写入 {seconds} 秒；请重试。",
    "The file is damaged, or is no store; restore it from a backup.": "文件已损坏或不是声纹库；请从备份恢复。",
    "Make room on the disk.": "请腾出磁盘空间。",
    "Is the folder there, on a local disk, and may this user write to it?": (
        "文件夹是否存在、是否在本地磁盘上、该用户能否写入？"
    ),
    "{folder}: the folder cannot be made ({reason}).": "{folder}：无法创建文件夹（{reason}）。",
    "{location}: the store is closed.": "{location}：声纹库已关闭。",
    "{location}: the store was moved to another model while it was open; open it again with that one.": (
        "{location}：声纹库在打开期间被转到了另一个模型；请用那个模型重新打开。"
    ),
    "{location}: the {count} recordings in it were embedded by another model ({fingerprint}); embeddings of two models "
    "cannot be compared. Use that model, or move the store to this one: python tools/reembed.py --model_path MODEL "
    "--audio_db_path {path}": (
        "{location}：其中 {count} 条录音的声纹向量由另一个模型（{fingerprint}）提取；两个模型的向量不能比较。"
        "请用那个模型，或把声纹库转到当前模型：python tools/reembed.py --model_path 模型 --audio_db_path {path}"
    ),
    "{location}: the embeddings in it have {size} numbers, and those of the model {fingerprint} are said to have "
    "{other}.": "{location}：其中的声纹向量是 {size} 维，而模型 {fingerprint} 的向量据称是 {other} 维。",
    "{location}: a store of format {found}; this version of mvector reads format {expected}. Use the version that "
    "wrote it.": "{location}：声纹库格式为 {found}；这个版本的 mvector 读取格式 {expected}。请用写出它的版本。",
    "embedding_size must be at least 1, found {size}.": "embedding_size 至少为 1，现在是 {size}。",
    "top_k must be at least 1, found {count}.": "top_k 至少为 1，现在是 {count}。",
    "there is no index named {name}; there are: {names}.": "没有名为 {name} 的索引；可选：{names}。",
    "in PostgreSQL there is no index named {name}; there are: {names}.": (
        "PostgreSQL 中没有名为 {name} 的索引；可选：{names}。"
    ),
    "an hnsw index takes embeddings of at most {size} numbers; use exact.": (
        "hnsw 索引最多支持 {size} 维的声纹向量；请用 exact。"
    ),
    "an embedding of this store has shape [{size}], found {shape}; embeddings of another model cannot be used with "
    "it.": ("这个声纹库的向量形状为 [{size}]，现在是 {shape}；其他模型的声纹向量不能用于它。"),
    "the embedding is zero, or has NaN or infinite numbers; is the recording broken?": (
        "声纹向量为零，或含 NaN 或无穷大；录音是否损坏？"
    ),
    "quality must be a mapping or a dataclass of numbers, found {type}.": (
        "quality 应为数值的映射或 dataclass，现在是 {type}。"
    ),
    "the recording to keep has no bytes in it.": "要保留的录音没有内容。",
    "the recording to keep is empty, or has NaN or infinite samples.": "要保留的录音为空，或含 NaN 或无穷大。",
    "this recording does not sound like the others of {name}: similarity {score}, expected at least {least}. Is it the "
    "same person, speaking alone? It is enrolled all the same.": (
        "这段录音与 {name} 的其他录音不像：相似度 {score}，应不低于 {least}。是同一个人独自在说话吗？仍已注册。"
    ),
    "a name must be text, found {type}.": "名字应为文本，现在是 {type}。",
    "the name {name} has {kind} (U+{code}) in it; leave it out.": "名字 {name} 中有{kind}（U+{code}）；请去掉。",
    "a control character": "控制字符",
    "a line separator": "行分隔符",
    "a paragraph separator": "段落分隔符",
    "half of a surrogate pair": "不成对的代理字符",
    "a name must have at least one character that can be seen.": "名字至少要有一个可见字符。",
    "the name {name} has {count} characters; at most {most} are allowed.": (
        "名字 {name} 有 {count} 个字符；最多允许 {most} 个。"
    ),
    "{location}: nobody named {name} is enrolled.": "{location}：没有注册过名为 {name} 的人。",
    "{location} is encrypted; set its key in the environment variable {variable}.": (
        "{location} 已加密；请在环境变量 {variable} 中给出密钥。"
    ),
    "{location} is encrypted with another key than the one given ({variable}).": (
        "{location} 的加密密钥与给出的（{variable}）不同。"
    ),
    "{location} is not encrypted, but a key is given ({variable}). Leave the key out; or export the people, and import "
    "them into a new store that is opened with the key.": (
        "{location} 没有加密，却给出了密钥（{variable}）。请不要给密钥；或导出所有人，再导入用该密钥打开的新声纹库。"
    ),
    "{location}: a part of it does not open with this key: it was damaged or changed from outside. Restore the file "
    "from a backup.": "{location}：其中一部分无法用此密钥打开：已损坏或被外部改动。请从备份恢复文件。",
    "{location}: encryption needs the package cryptography, which cannot be imported ({reason}). Install it with: pip "
    "install cryptography": (
        "{location}：加密需要 cryptography 包，但无法导入（{reason}）。安装：pip install cryptography"
    ),
    '{variable}: the key has {count} characters; it needs at least {least}, best made by: python -c "import secrets; '
    'print(secrets.token_urlsafe(32))"': (
        '{variable}：密钥有 {count} 个字符；至少需要 {least} 个，最好这样生成：python -c "import secrets; '
        'print(secrets.token_urlsafe(32))"'
    ),
    "{location}: a store in PostgreSQL is not encrypted by mvector, because the database compares the embeddings; "
    "encrypt the server's disk and leave MVECTOR_STORE_KEY out.": (
        "{location}：PostgreSQL 中的声纹库不由 mvector 加密，因为由数据库比较声纹向量；请加密服务器的磁盘，"
        "并且不要设置 MVECTOR_STORE_KEY。"
    ),
    "a store in PostgreSQL needs the package psycopg, which cannot be imported ({reason}). Install it with: pip "
    'install "psycopg[binary]"': (
        'PostgreSQL 中的声纹库需要 psycopg 包，但无法导入（{reason}）。安装：pip install "psycopg[binary]"'
    ),
    "{folder}: there is no such folder to import people from.": "{folder}：没有这个文件夹，无法从中导入。",
    "{path}: the people cannot be written to it ({reason}).": "{path}：无法把人员写入（{reason}）。",
    "{path}: no people can be imported from it ({reason}).": "{path}：无法从中导入人员（{reason}）。",
    "{path}: its people were enrolled with another model ({theirs}) than the one of this store ({ours}); import it "
    "into a store of that model and move that store with tools/reembed.py.": (
        "{path}：其中的人是用另一个模型（{theirs}）注册的，而这个声纹库的模型是 {ours}；请导入那个模型的声纹库，"
        "再用 tools/reembed.py 转换。"
    ),
    "{location}: {count} of the {total} enrolled recordings cannot be embedded by the new model, the first of {name} "
    "({reason}). Enroll these people again afterwards and delete such recordings with --drop, or go on using the old "
    "model; nothing was changed.": (
        "{location}：{total} 条注册语音中有 {count} 条无法由新模型提取声纹向量，第一条属于 {name}（{reason}）。"
        "可用 --drop 删除这些录音并让这些人之后重新注册，或继续使用旧模型；未作任何改动。"
    ),
    "its recording was not kept": "录音没有保留",
    "nobody speaks in it, or not long enough for this model": "其中没有人说话，或对这个模型来说太短",
    "{location}: no people are enrolled there, it has no {file}; check --audio_db_path.": (
        "{location}：那里没有注册过人，没有 {file}；请检查 --audio_db_path。"
    ),
    # serve
    "{place}: expected 'name scope,scope… SHA-256', found {count} words. Make a line with "
    "python -m mvector.serve --new_key NAME.": (
        "{place}：应为“名称 权限,权限… SHA-256”，现在有 {count} 个词。"
        "请用 python -m mvector.serve --new_key 名称 生成一行。"
    ),
    "{place}: the third word is not a SHA-256 in 64 hexadecimal digits. The file holds hashes, never the keys "
    "themselves; make a line with python -m mvector.serve --new_key NAME.": (
        "{place}：第三个词不是 64 位十六进制的 SHA-256。文件里存放的是哈希，不是密钥本身；"
        "请用 python -m mvector.serve --new_key 名称 生成一行。"
    ),
    "{place}: the name of a key has 1 to 64 letters, digits, '_', '-' or '.', found {name}": (
        "{place}：密钥名称应为 1 到 64 个字母、数字、“_”、“-”或“.”，现在是 {name}"
    ),
    "{place}: unknown scope {scope}; there are: {scopes}, {every}.{hint}": (
        "{place}：没有权限 {scope}；可以写：{scopes}, {every}。{hint}"
    ),
    "{path}: the keys cannot be read ({reason})": "{path}：密钥无法读取（{reason}）",
    "{path}: there is no key in it. Make one with python -m mvector.serve --new_key NAME.": (
        "{path}：里面没有密钥。请用 python -m mvector.serve --new_key 名称 生成一个。"
    ),
    "there are two keys named {name}; names tell keys apart in rates and logs": (
        "有两个名为 {name} 的密钥；限速和日志要靠名称区分密钥"
    ),
    "{path} has a key named {name} already; choose another name or delete its line.": (
        "{path} 里已有名为 {name} 的密钥；请换一个名称，或删除那一行。"
    ),
    "{path}: the keys cannot be written ({reason})": "{path}：密钥无法写入（{reason}）",
    "--host {host}: without API keys the service answers this computer only. Make a key with --new_key NAME --keys "
    "FILE, or leave --host out.": (
        "--host {host}：没有 API 密钥时服务只回应本机。请用 --new_key 名称 --keys 文件 生成密钥，或不写 --host。"
    ),
    "--tls_cert and --tls_key belong together; give both for HTTPS, or none.": (
        "--tls_cert 和 --tls_key 要一起用；HTTPS 需要两者都给，否则都不给。"
    ),
    "{path}: there is no such certificate or key file.": "{path}：没有这个证书或私钥文件。",
    "--{name} must be at least {least}, found {value}": "--{name} 至少为 {least}，现在是 {value}",
    "the service needs fastapi, uvicorn, python-multipart and prometheus-client: pip install fastapi uvicorn "
    'python-multipart prometheus-client, or pip install -e ".[serve]"': (
        "服务需要 fastapi、uvicorn、python-multipart 和 prometheus-client：pip install fastapi uvicorn "
        'python-multipart prometheus-client，或 pip install -e ".[serve]"'
    ),
    "spoofing detector {path} cannot be imported: {reason}": "防伪检测器 {path} 无法导入：{reason}",
    "spoofing detector {path} is not a function of (waveform, sample_rate_hz)": (
        "防伪检测器 {path} 不是 (waveform, sample_rate_hz) 的函数"
    ),
    # profile_training
    "--batches must be 1 or more, found {found}.": "--batches 至少为 1，现在是 {found}。",
    "The limit is loading (reading, decoding and augmenting recordings).": "瓶颈是数据读取（读文件、解码和增强）。",
    "The limit is the computation of features.": "瓶颈是特征计算。",
    "The limit is the network, as it should be.": "瓶颈是网络，这正是应有的状态。",
    "raise dataset_conf.dataLoader.num_workers: there are more cores than processes that load.": (
        "增大 dataset_conf.dataLoader.num_workers：CPU 核数多于读取数据的进程数。"
    ),
    "compute the features once with tools/extract_features.py and set dataset_conf.train_features, if you train "
    "without augmentation of the sound.": (
        "如果训练时不对声音做增强，先用 tools/extract_features.py 提取特征，再设置 dataset_conf.train_features。"
    ),
    "lower dataset_conf.dataset.max_duration, or take a cheaper feature: the device computes it itself.": (
        "减小 dataset_conf.dataset.max_duration，或换用更快的特征：特征由设备自己计算。"
    ),
    "keep the recordings as 16-bit WAV or FLAC at the model's rate on a local disk, or in shards made with "
    "tools/make_shards.py, and lower the probabilities in the augmentation file.": (
        "把录音按模型的采样率存成 16 位 WAV 或 FLAC 放在本地硬盘，或用 tools/make_shards.py 打包成分片，"
        "并降低增强文件里的概率。"
    ),
    "set train_conf.enable_amp to auto or True: this device computes bfloat16.": (
        "把 train_conf.enable_amp 设为 auto 或 True：这个设备支持 bfloat16。"
    ),
    "set train_conf.use_compile to True.": "把 train_conf.use_compile 设为 True。",
    "raise dataset_conf.sampler.batch_size (and the learning rate with it) until memory is full.": (
        "增大 dataset_conf.sampler.batch_size（学习率随之增大），直到用满显存。"
    ),
    "train on a GPU, or with a smaller backbone or shorter crops (dataset_conf.dataset.max_duration).": (
        "改用 GPU 训练，或换更小的骨干网络，或缩短片段（dataset_conf.dataset.max_duration）。"
    ),
    # several processes
    "several processes train on CPUs or CUDA GPUs, not on {device}: set --device cpu": (
        "多进程训练只能用 CPU 或 CUDA GPU，不能用 {device}：请加上 --device cpu"
    ),
    "--device {device} names one GPU for {count} processes: set --device cuda, which gives each its own, and choose "
    "the GPUs with CUDA_VISIBLE_DEVICES": (
        "--device {device} 为 {count} 个进程只指定了一块 GPU：请用 --device cuda 让每个进程各用一块，"
        "并用环境变量 CUDA_VISIBLE_DEVICES 选择 GPU"
    ),
    "process {number} of this machine (counted from 0) has no GPU of its own: PyTorch sees {count}. Set torchrun's "
    "--nproc_per_node to at most that, or --device cpu": (
        "这台机器上的第 {number} 个进程（从 0 数起）没有自己的 GPU：PyTorch 只找到 {count} 块。"
        "请把 torchrun 的 --nproc_per_node 设为不超过这个数，或加上 --device cpu"
    ),
    "the environment variable WORLD_SIZE asks for {count} processes, but {name} is not set: start them with torchrun, "
    "or unset WORLD_SIZE": (
        "环境变量 WORLD_SIZE 要求 {count} 个进程，但没有设置 {name}：请用 torchrun 启动，或取消 WORLD_SIZE"
    ),
    "this build of PyTorch lacks torch.distributed: start one process, `python train.py …`": (
        "这个 PyTorch 版本不带 torch.distributed：请只启动一个进程，`python train.py …`"
    ),
    "another process no longer answers: {reason}": "另一个进程不再响应：{reason}",
    "process {number} of {count} (on {host}) has ended: {reason}": (
        "共 {count} 个进程中的第 {number} 个（从 0 数起，在 {host} 上）已经结束：{reason}"
    ),
    "process {number} of {count}: another process has ended and could not say why (killed, or out of memory); "
    "torchrun's report names it": (
        "共 {count} 个进程中的第 {number} 个（从 0 数起）：另一个进程已经结束，没有来得及说明原因"
        "（被强行终止，或内存不足）；torchrun 的报告会指出是哪一个"
    ),
    "model_conf.classifier.sample_rate must be over 0 and at most 1, found {rate}": (
        "model_conf.classifier.sample_rate 应大于 0 且不超过 1，现在是 {rate}"
    ),
    "a classifier of {speakers} speakers cannot be shared out among {count} processes: set "
    "model_conf.classifier.sharded to False": (
        "{speakers} 个说话人的分类器无法分给 {count} 个进程：请把 model_conf.classifier.sharded 设为 False"
    ),
    "it has {count} classes, the data list {other}": "其中有 {count} 个类别，数据列表有 {other} 个",
    "a classifier that is sharded or samples speakers (model_conf.classifier.sharded, sample_rate)": (
        "分片或抽样的分类器（model_conf.classifier.sharded、sample_rate）"
    ),
    "{needed} works with AAMLoss and AMLoss without label_smoothing: change loss_conf, or leave them out": (
        "{needed}只能与不带 label_smoothing 的 AAMLoss 或 AMLoss 一起使用：请修改 loss_conf，或去掉这两项"
    ),
    "{needed} is one of cosines alone: set model_conf.classifier.classifier_type to Cosine and num_blocks to 0": (
        "{needed}只含余弦层：请把 model_conf.classifier.classifier_type 设为 Cosine，num_blocks 设为 0"
    ),
    "{folder}: the teacher's embeddings have {theirs} numbers and the network's {ours}: set "
    "model_conf.model_args.embd_dim to {wanted}.": (
        "{folder}：教师的嵌入有 {theirs} 维，网络的有 {ours} 维：请改 model_conf.model_args.embd_dim 为 {wanted}。"
    ),
    "robustness is measured on a trial list: give one that says which trials are targets.": (
        "鲁棒性要在试验列表上测量：请给出标明目标试验的列表。"
    ),
    "the model's configuration names no test list: give trial lists with --list.": (
        "模型的配置没有测试列表：请用 --list 给出试验列表。"
    ),
    "{path} carries the metrics of the model that it was made of. Put it into a folder of its own under the name "
    "{name} to choose a threshold for it, or choose one for its model directory and export it again.": (
        "{path} 带有导出它的模型的指标。请把它单独放进一个文件夹并命名为 {name}，再选择阈值；"
        "或者为模型目录选择阈值，然后重新导出。"
    ),
    "dataset_conf.sampler.batch_size must be at least 2{processes}: batch norm needs two utterances": (
        "dataset_conf.sampler.batch_size {processes}至少应为 2：批归一化需要两条语音"
    ),
    " in each of the {count} processes": "在 {count} 个进程中各",
    "True goes neither with P×K batches (is_use_pksampler) nor with seconds_per_crop": (
        "True 既不能与 P×K 批次（is_use_pksampler）同用，也不能与 seconds_per_crop 同用"
    ),
}

ARGPARSE = {
    "usage: ": "用法：",
    "positional arguments": "位置参数",
    "options": "选项",
    "show this help message and exit": "显示这段帮助并退出",
    "show program's version number and exit": "显示版本号并退出",
    "%(prog)s: error: %(message)s\n": "%(prog)s：错误：%(message)s\n",
    "argument %(argument_name)s: %(message)s": "参数 %(argument_name)s：%(message)s",
    "the following arguments are required: %s": "缺少必需的参数：%s",
    "unrecognized arguments: %s": "无法识别的参数：%s",
    "ambiguous option: %(option)s could match %(matches)s": "选项 %(option)s 有歧义，可能是 %(matches)s",
    "invalid choice: %(value)r (choose from %(choices)s)": "无效的选择 %(value)r（可选：%(choices)s）",
    "invalid %(type)s value: %(value)r": "无效的 %(type)s 值：%(value)r",
    "expected one argument": "需要一个值",
    "expected at most one argument": "最多只能有一个值",
    "expected at least one argument": "至少需要一个值",
    "expected %s argument": "需要 %s 个值",
    "ignored explicit argument %r": "多余的值 %r",
    "not allowed with argument %s": "不能与参数 %s 同时使用",
    "one of the arguments %s is required": "参数 %s 中必须有一个",
}
