// Which clip belongs to which split, where it is not the annotation file that says so: the lists that people
// use with MSR-VTT, and Video2Commonsense's own.
#pragma once

#include "clipcap/data/clip_index.h"

namespace clipcap {

/// Sets every clip's split by the first of several sources, separated by commas, that the folder has:
///
///   own          as videodatainfo.json says (or V2C's file, where the clips are from V2C's captions alone)
///   v2c          "videos" of v2c_info.json, else of msrvtt_new_info.json, there the clips of V2C's captions
///   9k, 7k       MSRVTT_train.9k.csv or MSRVTT_train.7k.csv, and MSRVTT_JSFUSION_test.csv
///   a.csv+b.csv  lists whose names say train, val or test: one id a line, or a column "video_id"
///   auto         the CSV lists of the folder, where there is one for training and none twice; else own, or v2c
///                where the clips are from V2C's captions alone
///
/// A clip that the source does not name is of no split. InputError when none of the sources is there, a list
/// is malformed, or a clip is in two of them.
void choose_splits(const std::filesystem::path& folder, const std::string& sources, bool has_own,
                   const ClipIndex& index, Dataset& dataset);

}  // namespace clipcap
