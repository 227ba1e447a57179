//! The words of states, outcomes and ranges.

use super::Words;

/// English and Korean, a row a line.
#[rustfmt::skip]
pub(super) const WORDS: Words = &[
    ("failed", "실패"),
    ("circuit", "서킷"),
    ("refused", "거부"),
    ("rejected", "거부"),
    ("Metrics only", "지표만 수집"),
    ("{state} for {age}", "{state}, {age} 동안"),
    ("{n} day", "{n}일"),
    ("{n} days", "{n}일"),
    ("{n} hour", "{n}시간"),
    ("{n} hours", "{n}시간"),
    ("{n} minute", "{n}분"),
    ("{n} minutes", "{n}분"),
    ("Closed", "닫힘"),
    ("closed", "닫힘"),
    ("Open", "열림"),
    ("open", "열림"),
    ("Half-open", "반열림"),
    ("half-open", "반열림"),
    ("Forced open", "강제 열림"),
    ("forced open", "강제 열림"),
    ("Forced closed", "강제 닫힘"),
    ("forced closed", "강제 닫힘"),
    ("Disabled", "비활성"),
    ("disabled", "비활성"),
    ("metrics only", "지표만 수집"),
    ("ok", "성공"),
    ("timed out", "시간 초과"),
    ("no slot", "슬롯 부족"),
    ("ignored", "무시됨"),
    ("cancelled", "취소됨"),
    ("degraded", "성능 저하"),
    ("probe {outcome}", "시험 호출 {outcome}"),
    ("fallback ok", "폴백 성공"),
    ("fallback failed", "폴백 실패"),
    ("fallback rejected", "폴백 거부"),
    ("no fallback", "폴백 없음"),
];
