"""The published files: how many examples there are, and what the first ones say."""

from collections import Counter

import pytest

from malmoi.tasks import find_task

COUNTS = {
    ("korsts", "kornlu/KorSTS"): (5749, 1500, 0),
    ("stsb", "stsb_en"): (5749, 1500, 0),
    ("klue-sts", "klue_dev"): (0, 519, 0),
    ("sst2", "sst2_glue"): (67349, 872, 1821),
    ("cola", "cola"): (8551, 527, 516),
    ("cola", "cola/cola_public.zip"): (8551, 527, 516),
    ("rte", "rte_glue"): (2490, 277, 3000),
    ("kobest-boolq", "kobest"): (3665, 700, 0),
    ("kobest-copa", "kobest"): (3076, 500, 0),
    ("kobest-hellaswag", "kobest/v1.0/HellaSwag"): (2029, 500, 0),
    ("kobest-sentineg", "kobest"): (3649, 400, 0),
    ("ud-pos", "ud_english_ewt"): (12544, 2001, 2077),
    ("ud-pos-ko", "ud_korean_gsd"): (4400, 950, 989),
    ("wnut17", "wnut17"): (3394, 1009, 1287),
    ("mcl-wic", "mcl_wic"): (8000, 1000, 1000),
    ("codah", "codah"): (1665, 556, 555),
    ("codah", "codah/cv_split/fold_4"): (1665, 555, 556),
    ("commonsenseqa", "commonsenseqa"): (9741, 1221, 1140),
    ("wordsim353-ko", "kor_word_eval"): (0, 0, 353),
    ("simverb", "word_similarity"): (0, 0, 3500),
    ("men", "word_similarity"): (0, 0, 3000),
    ("rarewords", "word_similarity"): (0, 0, 2034),
    ("mturk771", "word_similarity"): (0, 0, 771),
    ("rg65", "word_similarity"): (0, 0, 65),
}
DIVIDED = {
    ("klue-ner", "klue_dev"): 5000,
    ("klue-nli", "klue_dev"): 3000,
    ("kornli", "kornlu"): 2490,
    ("snli", "snli_devtest"): 9842,
    ("squad1", "squadshifts"): 7938,
    ("squad1", "xquad"): 1190,
    ("wikigold", "wikigold"): 1696,
    ("codah", "codah/full_data.tsv"): 2776,
    ("ud-pos-ko", "ud_pud/ko_pud-ud-test.conllu"): 1000,
}


@pytest.mark.parametrize(("name", "where"), COUNTS)
def test_published_splits_are_read_whole(shared, name, where):
    splits = find_task(name).read(shared / "data" / where)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == COUNTS[name, where]


@pytest.mark.parametrize(("name", "where"), DIVIDED)
def test_a_single_file_is_divided_and_said_to_be(shared, name, where):
    splits = find_task(name).read(shared / "data" / where)
    whole = [*splits.train, *splits.dev, *splits.test]
    assert len(whole) == DIVIDED[name, where] and set(splits.made) == {"train", "dev", "test"}
    assert len({example.id for example in whole}) == len(whole)
    assert 0.6 < len(splits.train) / len(whole) <= 0.7 and 0.2 <= len(splits.test) / len(whole) < 0.3


def test_nothing_of_one_text_is_torn_apart(shared):
    for name, where, of in (("klue-nli", "klue_dev", "first"), ("squad1", "squadshifts", "title"), ("squad1", "xquad", "title")):
        splits = find_task(name).read(shared / "data" / where)
        groups = [{getattr(example, of) for example in split} for split in (splits.train, splits.dev, splits.test)]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2]), name


def test_new_wiki_beside_xquad_is_for_training(shared, tmp_path):
    for name in ("squadshifts/new_wiki_v1.0.json.xz", "xquad/xquad.en.json"):
        (tmp_path / name.split("/")[1]).symlink_to(shared / "data" / name)
    splits = find_task("squad1").read(tmp_path)
    assert (len(splits.train) + len(splits.dev), len(splits.test)) == (7938, 1190) and set(splits.made) == {"train", "dev"}


def test_all_tags_and_labels_are_known_and_as_many_as_published(shared):
    data = shared / "data"
    wnut = find_task("wnut17").read(data / "wnut17")
    assert Counter(tag for one in wnut.train for tag in one.tags)["B-person"] == 660
    assert Counter(tag for one in wnut.test for tag in one.tags if tag.startswith("B-")).total() == 1079
    ewt = find_task("ud-pos").read(data / "ud_english_ewt")
    assert sum(len(one.words) for one in ewt.train) == 204577  # grep -cP '^\d+\t'
    assert {tag for one in ewt.train for tag in one.tags} == set(find_task("ud-pos").labels)
    klue = find_task("klue-ner").read(data / "klue_dev")
    first = next(one for one in (*klue.train, *klue.dev, *klue.test) if one.id == "klue-ner-v1_dev_00000-wikitree")
    assert "".join(first.words[:12]) == "경찰은 또 성매매 알선" and first.tags[:4] == ("B-OG", "I-OG", "O", "O")
    copa = find_task("kobest-copa").read(data / "kobest")
    assert copa.dev[1].context.endswith("맡았다. 그래서") and copa.dev[1].choices[copa.dev[1].label].startswith("남자는 토스트기 전원")


def test_the_word_of_mcl_wic_stands_where_it_is_said_to(shared):
    splits = find_task("mcl-wic").read(shared / "data" / "mcl_wic")
    first = splits.train[0]
    assert first.first[slice(*first.first_span)] == first.second[slice(*first.second_span)] == first.word == "play"
    assert {example.label for split in (splits.train, splits.dev, splits.test) for example in split} == {"T", "F"}


@pytest.mark.slow
def test_nsmc_is_drawn_from_the_crawl_by_the_protocol(shared):
    splits = find_task("nsmc").read(shared / "data" / "nsmc_raw")
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (135_000, 15_000, 50_000)
    everything = [*splits.train, *splits.dev, *splits.test]
    assert Counter(example.label for example in everything) == {"0": 100_000, "1": 100_000}
    assert len({example.id for example in everything}) == 200_000 and "drawn anew" in splits.made["train"] + splits.made["test"]
